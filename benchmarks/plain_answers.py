"""What DAP's answers alone take when nothing is new: a login, and one query for each table.

``python -m benchmarks.plain_answers <tables> <parallel>``, with the three settings of DAP in the
environment.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import requests

from benchmarks.service import NAMESPACE, numbered

_SESSIONS = threading.local()


def main(tables: int, parallel: int) -> None:
    """Ask for a snapshot of every table."""
    base = os.environ["DAP_API_URL"]
    login = requests.post(
        f"{base}/ids/auth/login",
        data={"grant_type": "client_credentials"},
        auth=(os.environ["DAP_CLIENT_ID"], os.environ["DAP_CLIENT_SECRET"]),
        timeout=60,
    ).json()

    def ask(table: str) -> None:
        session = getattr(_SESSIONS, "session", None)
        if session is None:
            session = _SESSIONS.session = requests.Session()
            session.headers["Authorization"] = f"Bearer {login['access_token']}"
        url = f"{base}/dap/query/{NAMESPACE}/table/{table}/data"
        answer = session.post(url, json={"format": "parquet"}, timeout=60).json()
        if answer["status"] != "complete":
            raise RuntimeError(f"the job of {table} is {answer['status']}")

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(ask, numbered(tables)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
