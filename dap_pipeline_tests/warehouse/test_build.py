from __future__ import annotations

import contextlib
import multiprocessing
import stat
import subprocess
import sys
import threading
from datetime import timedelta
from multiprocessing.context import SpawnProcess as Process
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import StorageError, WarehouseError
from dap_pipeline.lake.tables import Lake
from dap_pipeline.warehouse import build, build_warehouse

from .small_lake import AT, COURSES, TEXT, courses_schema, publish, query, schema

ALGEBRA = {"id": "1", "name": "'Algebra'", "meta_ts": "TIMESTAMPTZ '2026-11-23 10:00:00Z'"}
BIOLOGY = {"id": "2", "name": "'Biology'", "meta_ts": "TIMESTAMPTZ '2026-11-23 11:00:00Z'"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def test_a_build_registers_every_published_table(lake: Lake, file: Path) -> None:
    publish(lake, COURSES, courses_schema(), [ALGEBRA, BIOLOGY])
    publish(lake, TableName("catalog", "courses"), schema({"name": TEXT}), [ALGEBRA])
    report = build_warehouse(lake, file)
    names = [str(registered.name) for registered in report.tables]
    assert names == ["canvas.courses", "catalog.courses"]
    assert report.file == file
    assert query(file, "SELECT name FROM canvas.courses ORDER BY id") == [
        ("Algebra",),
        ("Biology",),
    ]
    assert query(file, "SELECT count(*) FROM catalog.courses") == [(1,)]


def test_a_lake_without_tables_makes_a_warehouse_without_views(lake: Lake, file: Path) -> None:
    assert build_warehouse(lake, file).tables == ()
    assert query(file, "SELECT count(*) FROM dap.tables") == [(0,)]


def test_who_has_the_old_file_open_keeps_reading_it(lake: Lake, file: Path) -> None:
    publish(lake, COURSES, courses_schema(), [ALGEBRA])
    build_warehouse(lake, file)
    # In a process of its own: DuckDB shares open files within a process.
    script = (
        "import duckdb, sys\n"
        "reader = duckdb.connect(sys.argv[1], read_only=True)\n"
        "for line in sys.stdin:\n"
        "    print(reader.execute('SELECT count(*) FROM canvas.courses').fetchall(), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdin
        assert reader.stdout
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "[(1,)]\n"
        publish(lake, COURSES, courses_schema(), [ALGEBRA, BIOLOGY], at=AT + timedelta(hours=4))
        build_warehouse(lake, file)
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "[(1,)]\n"
        reader.stdin.close()
    assert query(file, "SELECT count(*) FROM canvas.courses") == [(2,)]


def test_a_stale_write_ahead_log_is_removed(lake: Lake, file: Path) -> None:
    build_warehouse(lake, file)
    wal = file.with_name(f"{file.name}.wal")
    wal.write_bytes(b"left by someone who had the file open for writing")
    build_warehouse(lake, file)
    assert not wal.exists()
    assert query(file, "SELECT count(*) FROM dap.tables") == [(0,)]


def test_only_the_owner_can_read_the_file(lake: Lake, file: Path) -> None:
    build_warehouse(lake, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_nothing_but_the_file_its_note_and_its_lock_stays(lake: Lake, file: Path) -> None:
    publish(lake, COURSES, courses_schema(), [ALGEBRA])
    before = set(file.parent.iterdir())
    killed = file.parent / f".{file.name}-killed"
    killed.mkdir()
    (killed / file.name).write_bytes(b"half of a file")
    build_warehouse(lake, file)
    added = sorted(path.name for path in set(file.parent.iterdir()) - before)
    assert added == ["warehouse.duckdb", "warehouse.duckdb.built", "warehouse.duckdb.lock"]


def test_the_file_opens_in_older_duckdb(lake: Lake, file: Path) -> None:
    build_warehouse(lake, file)
    [(tags,)] = query(file, "SELECT tags FROM duckdb_databases() WHERE NOT internal")
    assert tags["storage_version"].startswith("v1.4.0")


def test_a_failed_build_leaves_the_old_file(
    lake: Lake, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(lake, COURSES, courses_schema(), [ALGEBRA])
    build_warehouse(lake, file)
    before = file.read_bytes()

    def fails(*_: object) -> None:
        raise duckdb.InternalException("INTERNAL Error: no more\nand a trace")

    monkeypatch.setattr(build, "create_changes", fails)
    with pytest.raises(WarehouseError, match=r"cannot be built: INTERNAL Error: no more\. "):
        build_warehouse(lake, file, anew=True)
    assert file.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")
    with pytest.raises(StorageError, match=r"cannot be written: (File exists|Not a directory)"):
        build_warehouse(lake, tmp_path / "taken" / "warehouse.duckdb")


@pytest.mark.slow
def test_a_full_disk_is_told_in_one_sentence_and_leaves_the_old_file(
    lake: Lake, file: Path
) -> None:
    publish(lake, COURSES, courses_schema(), [ALGEBRA])
    build_warehouse(lake, file)
    before = file.read_bytes()
    # A limit on the size of files stands in for a full disk: writing fails half way.
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from dap_pipeline.lake.tables import Lake\n"
        "from dap_pipeline.warehouse import build_warehouse\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    build_warehouse(Lake(Path(sys.argv[1])), Path(sys.argv[2]))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(lake.root), str(file)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.startswith(f"StorageError the warehouse {file} cannot be written: ")
    assert len(told.stdout.splitlines()) == 1
    assert file.read_bytes() == before


def test_a_build_that_waits_too_long_for_another_says_so(lake: Lake, file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    with (
        FileLock(file.with_name(f"{file.name}.lock")),
        pytest.raises(WarehouseError, match="another process has been building"),
    ):
        build_warehouse(lake, file, lock_seconds=0.1)


def _build(root: Path, file: Path) -> None:
    build_warehouse(Lake(root), file)


@pytest.mark.slow
def test_builds_at_the_same_time_all_succeed_and_the_result_is_whole(
    lake: Lake, file: Path
) -> None:
    publish(lake, COURSES, courses_schema(), [ALGEBRA])
    processes = [
        multiprocessing.get_context("spawn").Process(target=_build, args=(lake.root, file))
        for _ in range(3)
    ]
    threads = [threading.Thread(target=_build, args=(lake.root, file)) for _ in range(3)]
    workers: list[Process | threading.Thread] = [*processes, *threads]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert query(file, "SELECT name FROM canvas.courses") == [("Algebra",)]


@pytest.mark.slow
def test_all_tables_of_the_catalogue_are_built(lake: Lake, file: Path) -> None:
    tables = load_catalogue().tables
    for table in tables:
        publish(lake, table.name, table.schema, [ALGEBRA | {"meta_ts": "now()"}])
    report = build_warehouse(lake, file)
    assert len(report.tables) == len(tables)


def test_a_reader_does_not_hold_a_build_up(lake: Lake, file: Path) -> None:
    build_warehouse(lake, file)
    publish(lake, COURSES, courses_schema(), [ALGEBRA])
    with contextlib.closing(duckdb.connect(str(file), read_only=True)):
        assert len(build_warehouse(lake, file, lock_seconds=1).tables) == 1
