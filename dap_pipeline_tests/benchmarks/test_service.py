from __future__ import annotations

from pathlib import Path

import pytest
import requests

from benchmarks.file_server import Network, serving_files
from benchmarks.plain_sockets import drain
from benchmarks.service import ReadyTable, ServiceSpec, running_service
from dap_pipeline.cli.main import run


def test_the_file_server_sends_whole_files_ranges_and_404(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with serving_files(tmp_path, Network()) as url, requests.Session() as session:
        whole = session.get(f"{url}/file?signature=x", timeout=60)
        part = session.get(f"{url}/file", headers={"Range": "bytes=4-"}, timeout=60)
        none = session.get(f"{url}/other", timeout=60)
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert (part.status_code, part.content) == (206, b"456789")
    assert part.headers["Content-Range"] == "bytes 4-9/10"
    assert none.status_code == 404


def test_the_file_server_is_drained_to_the_last_byte(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    with serving_files(tmp_path, Network()) as url:
        received = drain(f"{url}/file?signature=x")
    assert 3_000_000 < received < 3_001_000


@pytest.mark.slow
def test_the_service_hands_out_the_files_that_lie_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        file = tmp_path / name
        file.write_bytes(b"\x1f\x8b" + name.encode())
        files.append(str(file))
    spec = ServiceSpec(tmp_path / "service", (ReadyTable("users", tuple(files), 0.2),), limits=True)
    with running_service(spec) as service:
        for name, value in service.environment(tmp_path / "data").items():
            monkeypatch.setenv(name, value)
        what = ["snapshot", "--namespace", "canvas", "--table", "users", "--verify", "size"]
        assert run([*what, "--output-directory", str(tmp_path / "out")]) == 0
        counted = service.requests()
        assert service.rate_limited() == 0
        assert service.cpu_seconds() > 0
    fetched = {file.name: file.read_bytes() for file in (tmp_path / "out").glob("job_*/*")}
    assert fetched == {Path(file).name: Path(file).read_bytes() for file in files}
    assert counted["object_url"] == 1
