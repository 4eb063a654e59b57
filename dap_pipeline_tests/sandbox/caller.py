"""A bare client for the tests: one method per endpoint, answers as they come."""

from __future__ import annotations

import gzip
import time
from typing import Any

import requests

from dap_pipeline.sandbox.serve import RunningSandbox

PATIENCE_SECONDS = 60


def login(
    sandbox: RunningSandbox, secret: str | None = None, form: Any = None
) -> requests.Response:
    """Log in, with the right secret and form unless others are given."""
    credentials = (sandbox.client_id, secret or sandbox.client_secret)
    body = form or {"grant_type": "client_credentials"}
    return requests.post(f"{sandbox.url}/ids/auth/login", data=body, auth=credentials, timeout=30)


class Caller:
    """Speaks to a sandbox with a token of its own."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.url = sandbox.url
        self.sandbox = sandbox
        self.token = login(sandbox).json()["access_token"]

    def get(self, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        own = {"Authorization": f"Bearer {self.token}"} if headers is None else headers
        return requests.get(f"{self.url}{path}", headers=own, timeout=30)

    def post(self, path: str, body: Any) -> requests.Response:
        raw = {"data": body} if isinstance(body, bytes) else {"json": body}
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.post(f"{self.url}{path}", headers=headers, timeout=30, **raw)

    def data(self, table: str, body: Any, namespace: str = "canvas") -> requests.Response:
        return self.post(f"/dap/query/{namespace}/table/{table}/data", body)

    def ended_job(self, table: str, namespace: str = "canvas", **query: Any) -> dict[str, Any]:
        """Start a job and ask for it until it has ended, at once after its work is done."""
        job: dict[str, Any] = self.data(table, query, namespace).json()
        return self.await_job(job)

    def await_job(self, job: dict[str, Any]) -> dict[str, Any]:
        self.sandbox.service.jobs.wait(job["id"])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while job["status"] in {"waiting", "running"}:
            assert time.monotonic() < deadline, "the job does not end"
            job = self.get(f"/dap/job/{job['id']}").json()
        return job

    def links(self, job: dict[str, Any]) -> list[str]:
        answer = self.post("/dap/object/url", job["objects"])
        answer.raise_for_status()
        urls = answer.json()["urls"]
        return [urls[each["id"]]["url"] for each in job["objects"]]

    def files(self, job: dict[str, Any]) -> list[bytes]:
        answers = [requests.get(link, timeout=30) for link in self.links(job)]
        for answer in answers:
            answer.raise_for_status()
        return [answer.content for answer in answers]

    def text(self, job: dict[str, Any]) -> str:
        """Give the one text part of a job."""
        (content,) = self.files(job)
        return gzip.decompress(content).decode()
