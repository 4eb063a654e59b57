"""The whole room against the embedded service, over real HTTP."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dap_pipeline.dap.catalogue import load_catalogue, save_namespace
from dap_pipeline.dap.client import DapClient
from dap_pipeline.dap.download import Downloader
from dap_pipeline.dap.jobs import JobPace, JobRunner
from dap_pipeline.dap.links import LinkBook
from dap_pipeline.dap.models import (
    CompleteIncremental,
    CompleteJob,
    CompleteSnapshot,
    Format,
    IncrementalQuery,
    Query,
    SnapshotQuery,
    TableName,
)
from dap_pipeline.dap.progress import silent
from dap_pipeline.dap.stages import Target
from dap_pipeline.dap.stopping import Stop
from dap_pipeline.errors import (
    LoginRefusedError,
    NotFoundError,
    OutOfRangeError,
    UnknownTableError,
)
from dap_pipeline.sandbox.serve import RunningSandbox
from dap_pipeline.settings import Verify
from dap_pipeline_tests.sandbox import small_school

from .parts import HASTY, client_of

USERS = TableName("canvas", "users")
PACE = JobPace(first_poll=0.001, longest_poll=0.05, failed_wait=0.01)


class Service:
    """A client of the running sandbox, with all that fetches a table from it."""

    def __init__(self, sandbox: RunningSandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.client = self.client_with(sandbox.client_secret)
        self.runner = JobRunner(self.client, PACE)
        self.downloader = Downloader(
            self.client.http, connections=3, verify=Verify.FULL, patience=HASTY
        )

    def client_with(self, secret: str) -> DapClient:
        return client_of(
            self.sandbox.url, self.folder, secret=secret, client_id=self.sandbox.client_id
        )

    def run(self, name: TableName, query: Query) -> CompleteJob:
        return self.runner.run(name, query, listener=silent, stop=Stop())

    def fetch(self, job: CompleteJob, format: Format) -> list[Path]:
        ids = [ref.id for ref in job.objects]
        targets = [Target(n, i, self.folder / f"part-{n:05d}") for n, i in enumerate(ids)]
        links = LinkBook(self.client, ids, Stop())
        arriving = self.downloader.fetch(
            targets, links, format, on_bytes=lambda _: None, stop=Stop()
        )
        return sorted(target.path for target in arriving)


@pytest.fixture
def service(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Service]:
    made = Service(sandbox, tmp_path)
    yield made
    made.downloader.close()


def test_namespaces_and_schemas_are_read(service: Service, tmp_path: Path) -> None:
    tables = service.client.list_tables("canvas", Stop())
    assert set(tables) >= {"everything", "nothing", "users"}
    schema = service.client.schema(USERS, Stop())
    assert schema.json_schema == small_school.USER_SCHEMA
    assert schema.version == 3
    save_namespace(tmp_path / "catalogue", "canvas", {"users": schema})
    assert load_catalogue(tmp_path / "catalogue").names("canvas") == (USERS,)


@pytest.mark.parametrize("format", Format)
def test_a_snapshot_arrives_whole_in_every_format(service: Service, format: Format) -> None:
    job = service.run(USERS, SnapshotQuery(format))
    assert isinstance(job, CompleteSnapshot)
    assert small_school.EARLIER <= job.at <= small_school.COMMITTED_AT
    files = service.fetch(job, format)
    assert len(files) == len(job.objects) == 3
    header = format in (Format.CSV, Format.TSV)
    if format is Format.PARQUET:
        rows = sum(pq.read_metadata(file).num_rows for file in files)
    else:
        rows = sum(len(gzip.decompress(f.read_bytes()).splitlines()) - header for f in files)
    assert rows == small_school.USERS


def test_an_increment_follows_a_snapshot(service: Service) -> None:
    first = service.run(USERS, SnapshotQuery(Format.JSONL))
    assert isinstance(first, CompleteSnapshot)
    change = small_school.user(7, committed_at=first.at + timedelta(minutes=5))
    small_school.insert(service.sandbox.service.store, "canvas", "users", [change])
    second = service.run(USERS, IncrementalQuery(Format.JSONL, first.at))
    assert isinstance(second, CompleteIncremental)
    assert second.since == first.at
    assert second.until > first.at
    (file,) = service.fetch(second, Format.JSONL)
    assert b'"id":7' in gzip.decompress(file.read_bytes()).replace(b" ", b"")


def test_an_increment_from_after_the_newest_commit_is_out_of_range(service: Service) -> None:
    since = small_school.COMMITTED_AT + timedelta(days=4000)
    with pytest.raises(OutOfRangeError, match=r"permitted from") as caught:
        service.run(USERS, IncrementalQuery(Format.JSONL, since))
    assert caught.value.since is not None


def test_the_same_query_gets_the_same_job_until_it_is_gone(service: Service) -> None:
    first = service.run(USERS, SnapshotQuery(Format.PARQUET))
    assert service.run(USERS, SnapshotQuery(Format.PARQUET)).id == first.id
    service.sandbox.service.clock.advance(timedelta(hours=25))
    second = service.run(USERS, SnapshotQuery(Format.PARQUET))
    assert second.id != first.id
    with pytest.raises(NotFoundError) as caught:
        service.fetch(first, Format.PARQUET)
    assert caught.value.kind == "object"


def test_a_token_that_has_ended_meanwhile_is_renewed(service: Service) -> None:
    service.client.list_tables("canvas", Stop())
    service.sandbox.service.clock.advance(timedelta(hours=2))
    assert service.client.list_tables("canvas", Stop())


def test_links_that_have_ended_meanwhile_are_renewed(service: Service) -> None:
    job = service.run(USERS, SnapshotQuery(Format.PARQUET))
    ids = [ref.id for ref in job.objects]
    links = LinkBook(service.client, ids, Stop())
    links.urls()
    service.sandbox.service.clock.advance(timedelta(hours=1))
    targets = [Target(n, i, service.folder / f"part-{n}") for n, i in enumerate(ids)]
    arriving = service.downloader.fetch(
        targets, links, Format.PARQUET, on_bytes=lambda _: None, stop=Stop()
    )
    assert len(list(arriving)) == 3


@pytest.mark.parametrize("name", [TableName("canvas", "no_such"), TableName("no_such", "users")])
def test_a_table_that_does_not_exist_is_named(service: Service, name: TableName) -> None:
    with pytest.raises(UnknownTableError, match=str(name)):
        service.run(name, SnapshotQuery(Format.PARQUET))
    with pytest.raises(UnknownTableError, match=str(name)):
        service.client.schema(name, Stop())


def test_a_wrong_secret_is_refused(service: Service) -> None:
    with pytest.raises(LoginRefusedError):
        service.client_with("wrong").list_tables("canvas", Stop())
