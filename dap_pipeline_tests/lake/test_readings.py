from __future__ import annotations

from pathlib import Path

import pytest

from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import LakeError
from dap_pipeline.lake.readings import read_each
from dap_pipeline.lake.tables import Lake

from .checking.school import ENROLLMENT, ENROLLMENTS, USER, USERS, good_rows, put, users


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    put(lake, USERS, USER, users(1, 2))
    return lake


def test_one_that_cannot_be_read_holds_no_other_up() -> None:
    def read(name: TableName) -> int | None:
        if name == USERS:
            raise LakeError("it is broken")
        return None if name.table == "nothing" else 7

    readings = read_each([USERS, ENROLLMENTS, TableName("canvas", "nothing")], read)
    assert readings.found == {ENROLLMENTS: 7}
    assert str(readings.failures[USERS]).startswith("canvas.users: it is broken. ")


def test_the_tables_that_can_be_read_are_listed_beside_the_others(lake: Lake) -> None:
    (lake.folder(USERS) / "_delta_log" / "00000000000000000000.json").write_text("nonsense")
    readings = lake.readable_tables()
    assert list(readings.found) == [ENROLLMENTS]
    assert list(readings.failures) == [USERS]
    assert lake.names() == [ENROLLMENTS, USERS]
    with pytest.raises(LakeError, match=r"canvas\.users: .*cannot be read as a table"):
        lake.tables()


def test_a_folder_that_may_not_be_looked_into_is_told_and_not_passed_over(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Modes of folders do not bind an administrator, who may run the tests.
    real, closed = Path.stat, lake.folder(USERS)

    def stat(path: Path, *, follow_symlinks: bool = True) -> object:
        if closed in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    readings = lake.readable_tables()
    assert list(readings.found) == [ENROLLMENTS]
    assert "Permission denied" in str(readings.failures[USERS])
