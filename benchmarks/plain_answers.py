"""What DAP's answers alone take when nothing is new: a login, and one query for each table.

``python -m benchmarks.plain_answers <snapshot or increment> <tables> <parallel>``, with the three
settings of DAP in the environment. Prints the seconds from the first request to the last answer.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import requests

from benchmarks.service import NAMESPACE, numbered
from dap_pipeline.dap.jobs import JobPace

_SESSIONS = threading.local()
_QUERIES = {
    "snapshot": lambda: {"format": "parquet"},
    # Nobody has asked for exactly this yet, so it gets a job of its own, as each day's does.
    "increment": lambda: {
        "format": "parquet",
        "since": (datetime.now(UTC) - timedelta(days=20)).isoformat(),
    },
}


def main(kind: str, tables: int, parallel: int) -> None:
    """Run a query of every table to the end of its job."""
    base, query = os.environ["DAP_API_URL"], _QUERIES[kind]()
    first_poll = JobPace().first_poll
    began = time.perf_counter()
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
        job = session.post(url, json=query, timeout=60).json()
        while job["status"] in {"waiting", "running"}:
            time.sleep(first_poll)
            job = session.get(f"{base}/dap/job/{job['id']}", timeout=60).json()
        if job["status"] != "complete":
            raise RuntimeError(f"the job of {table} is {job['status']}")

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(ask, numbered(tables)))
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
