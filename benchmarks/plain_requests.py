"""What a few lines of `requests` and threads reach: it writes each link's bytes to a file.

``python -m benchmarks.plain_requests <table> <folder> <connections>``, with the three settings of
DAP in the environment. Nothing is checked, resumed, retried or paced.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

_CHUNK = 1 << 18
_SESSIONS = threading.local()


def main(table: str, folder: Path, connections: int) -> None:
    """Fetch the files of a table's snapshot."""
    with ThreadPoolExecutor(connections) as pool:
        jobs = [
            pool.submit(_fetch, url, folder / f"{number:05d}")
            for number, url in enumerate(links(table))
        ]
        for each in jobs:
            each.result()


def links(table: str) -> list[str]:
    """Run a snapshot of a table and give the signed links of its files."""
    base = os.environ["DAP_API_URL"]
    credentials = (os.environ["DAP_CLIENT_ID"], os.environ["DAP_CLIENT_SECRET"])
    login = requests.post(
        f"{base}/ids/auth/login",
        data={"grant_type": "client_credentials"},
        auth=credentials,
        timeout=60,
    ).json()
    api = requests.Session()
    api.headers["Authorization"] = f"Bearer {login['access_token']}"
    query = {"format": "jsonl"}
    job = api.post(f"{base}/dap/query/canvas/table/{table}/data", json=query, timeout=60).json()
    while job["status"] != "complete":
        time.sleep(0.05)
        job = api.get(f"{base}/dap/job/{job['id']}", timeout=60).json()
    urls = api.post(f"{base}/dap/object/url", json=job["objects"], timeout=60).json()["urls"]
    return [link["url"] for link in urls.values()]


def _fetch(url: str, file: Path) -> None:
    session = getattr(_SESSIONS, "session", None)
    if session is None:
        session = _SESSIONS.session = requests.Session()
    with session.get(url, stream=True, timeout=60) as response, file.open("wb") as target:
        for chunk in response.iter_content(_CHUNK):
            target.write(chunk)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
