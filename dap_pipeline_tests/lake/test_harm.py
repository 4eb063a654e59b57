from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError
from dap_pipeline.lake.engine import Engine
from dap_pipeline.lake.harm import lost_files
from dap_pipeline.lake.records import LoadKind, LoadMode, Outcome
from dap_pipeline.sandbox.serve import RunningSandbox

from .following import USERS, Follower, settings_for

Harm = Callable[[Path], None]


def removed(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def altered(path: Path) -> None:
    """Harm that the size of the file does not show."""
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)


@pytest.fixture
def follower(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Follower]:
    with Engine.open(settings_for(sandbox, tmp_path)) as engine:
        yield Follower(sandbox, engine)


def harmed(follower: Follower, harm: Harm, name: TableName = USERS) -> None:
    for file in follower.table(name).files:
        harm(Path(file))


def test_a_whole_table_has_no_lost_files(follower: Follower) -> None:
    follower.load()
    assert lost_files(follower.table()) == ""


@pytest.mark.parametrize("mode", [LoadMode.AUTO, LoadMode.SNAPSHOT])
@pytest.mark.parametrize("harm", [removed, cut])
def test_a_load_brings_lost_files_back_though_dap_has_nothing_new(
    follower: Follower, harm: Harm, mode: LoadMode
) -> None:
    first = follower.load()
    harmed(follower, harm)
    result = follower.load(mode)
    assert (result.outcome, result.table.load.kind) == (Outcome.LOADED, LoadKind.SNAPSHOT)
    lost = Path(first.table.files[0]).name
    assert result.reason == f"{lost} is gone or has another size"
    assert result.table.load.job_id == first.table.load.job_id
    follower.check()
    assert follower.load(mode).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize("harm", [removed, cut, altered])
def test_auto_takes_a_snapshot_where_changes_meet_harmed_files(
    follower: Follower, harm: Harm
) -> None:
    follower.load()
    follower.change("update", 3)
    harmed(follower, harm)
    result = follower.load()
    assert result.table.load.kind is LoadKind.SNAPSHOT
    words = "cannot be read" if harm is altered else "is gone or has another size"
    assert words in result.reason
    # DAP may have answered with the snapshot of before the changes.
    follower.load()
    follower.check()


@pytest.mark.parametrize("harm", [removed, altered])
def test_changes_alone_are_refused_where_files_are_harmed(follower: Follower, harm: Harm) -> None:
    follower.load()
    follower.change("update", 3)
    harmed(follower, harm)
    with pytest.raises(LakeError, match="Load the table with `--mode snapshot` or `auto`"):
        follower.load(LoadMode.INCREMENTAL)
    assert follower.table().version == 0


def test_a_snapshot_replaces_files_that_cannot_be_read_and_says_what_is_not_known(
    follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    follower.load()
    follower.change("insert", 3, hours=30)
    harmed(follower, altered)
    result = follower.load(LoadMode.SNAPSHOT)
    assert result.table.load.kind is LoadKind.SNAPSHOT
    assert result.counts is None
    told = "it is not known what the snapshot changed: published files cannot be read"
    assert told in caplog.text
    follower.check()
