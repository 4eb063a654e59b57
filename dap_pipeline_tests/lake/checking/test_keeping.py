"""An unchanged table is not read again; what was said about it is said again."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dap_pipeline.errors import LakeError
from dap_pipeline.lake.checking.results import CheckName
from dap_pipeline.lake.checking.run import check_table
from dap_pipeline.lake.tables import Lake

from .school import (
    ENROLLMENT,
    ENROLLMENTS,
    USER,
    USERS,
    check,
    good_rows,
    put,
    result_of,
    rules,
    users,
)


def damage(lake: Lake) -> None:
    """Make the files of the table unreadable: who reads them fails."""
    for file in lake.folder(ENROLLMENTS).glob("*.parquet"):
        file.write_bytes(b"no Parquet")


def test_an_unchanged_table_is_not_read_again(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    first = check(lake)
    damage(lake)
    assert check(lake) == first
    with pytest.raises(LakeError, match=r"canvas\.enrollments: its files cannot be checked"):
        check_table(lake, ENROLLMENTS, rules(lake.root.parent), again=True)


def test_a_new_version_is_read(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    check(lake)
    put(lake, ENROLLMENTS, ENROLLMENT, [*good_rows(), *good_rows()])
    report = check(lake)
    assert report.version == 1
    assert not result_of(report, CheckName.KEY_IS_UNIQUE).passed


def test_other_rules_read_the_table_again(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows(400))
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows(600))
    assert result_of(check(lake), CheckName.ROW_COUNT_IS_PLAUSIBLE).passed
    strict = check(lake, row_change_warn=0.2)
    assert not result_of(strict, CheckName.ROW_COUNT_IS_PLAUSIBLE).passed


def test_references_are_looked_up_again_when_the_other_table_changed(lake: Lake) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, [*good_rows(), *good_rows()])
    put(lake, USERS, USER, users(1))
    before = check(lake)
    put(lake, USERS, USER, users(1, 2))
    after = check(lake)
    assert not result_of(before, CheckName.REFERENCES_RESOLVE).passed
    assert result_of(after, CheckName.REFERENCES_RESOLVE).passed
    same = [r for r in before.results if r.name is not CheckName.REFERENCES_RESOLVE]
    assert [r for r in after.results if r.name is not CheckName.REFERENCES_RESOLVE] == same


def test_what_is_kept_can_be_read_by_its_owner_alone_and_is_no_part_of_the_table(
    lake: Lake,
) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    check(lake)
    (file,) = lake.folder(ENROLLMENTS).glob("_checks*")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    table = lake.table(ENROLLMENTS)
    assert table is not None
    assert table.rows == 4


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"report": 1}'])
def test_what_cannot_be_read_is_made_anew(lake: Lake, text: str) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    first = check(lake)
    (lake.folder(ENROLLMENTS) / "_checks.json").write_text(text)
    assert check(lake).results == first.results


def test_nothing_but_the_report_stays_on_the_disk(lake: Lake, tmp_path: Path) -> None:
    put(lake, ENROLLMENTS, ENROLLMENT, good_rows())
    before = set(tmp_path.rglob("*"))
    check(lake)
    new = set(tmp_path.rglob("*")) - before
    assert {path.name for path in new} == {"_checks.json", "spill"}
    assert list((tmp_path / "spill").iterdir()) == []
