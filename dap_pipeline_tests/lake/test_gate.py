"""What must not be published is refused before the commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dap_pipeline.errors import BrokenKeyError, ConfigurationError, ContractError, RowCountError
from dap_pipeline.lake.contract import Contracts
from dap_pipeline.lake.duck import RewriteOptions, connect
from dap_pipeline.lake.gate import GateRules, check_before_commit, check_contract
from dap_pipeline.lake.keys_once import overlapping, repeated_keys
from dap_pipeline.lake.places import Places
from dap_pipeline.lake.records import LoadKind, PublishedTable
from dap_pipeline.lake.rewriting.rewrite import WrittenFile
from dap_pipeline.lake.tables import Lake
from dap_pipeline.settings import load_settings

from .checking.school import ENROLLMENT, ENROLLMENTS, VALUES, good_rows, parquet, put
from .making import INT64, STRING, shape


@pytest.fixture
def options(tmp_path: Path) -> RewriteOptions:
    return RewriteOptions("400MB", 2, tmp_path / "spill")


@pytest.fixture
def before(tmp_path: Path) -> PublishedTable:
    return put(Lake(tmp_path / "lake"), ENROLLMENTS, ENROLLMENT, good_rows(10))


def made(folder: Path, *files: Sequence[Mapping[str, Any]]) -> list[WrittenFile]:
    return [
        parquet(folder / f"new-{number}.parquet", ENROLLMENT, rows)
        for number, rows in enumerate(files)
    ]


def gate(
    files: Sequence[WrittenFile],
    options: RewriteOptions,
    before: PublishedTable | None = None,
    *,
    kind: LoadKind = LoadKind.SNAPSHOT,
    rows: int | None = None,
    **rules: Any,
) -> None:
    check_before_commit(
        ENROLLMENTS,
        files,
        ENROLLMENT,
        kind=kind,
        rows=sum(file.rows for file in files) if rows is None else rows,
        before=before,
        rules=GateRules(**rules),
        options=options,
    )


def test_a_sound_load_passes(
    tmp_path: Path, options: RewriteOptions, before: PublishedTable
) -> None:
    gate(made(tmp_path, good_rows(5), good_rows(12)[5:]), options, before)
    gate([], options)


def test_a_key_that_repeats_over_two_files_is_refused(
    tmp_path: Path, options: RewriteOptions
) -> None:
    with pytest.raises(BrokenKeyError) as caught:
        gate(made(tmp_path, good_rows(5), good_rows(2)), options)
    assert str(caught.value).startswith(
        "canvas.enrollments: 2 keys occur more than once, such as 1 and 2. The published table"
    )


def test_a_key_without_a_value_is_refused(tmp_path: Path, options: RewriteOptions) -> None:
    with pytest.raises(BrokenKeyError, match="the key column id has no value in 1 rows"):
        gate(made(tmp_path, [*good_rows(2), {"user_id": 1}]), options)


def test_a_snapshot_without_rows_is_refused_where_rows_are_published(
    options: RewriteOptions, before: PublishedTable
) -> None:
    with pytest.raises(RowCountError, match="no rows, and 10 are published") as caught:
        gate([], options, before)
    assert "DAP_PIPELINE_MAY_BE_EMPTY" in str(caught.value)


def test_a_table_may_be_empty_where_the_settings_say_so_or_it_was(
    tmp_path: Path, options: RewriteOptions, before: PublishedTable
) -> None:
    gate([], options, before, may_be_empty=Places(frozenset({"canvas.enrollments"})))
    empty = put(Lake(tmp_path / "other"), ENROLLMENTS, ENROLLMENT, [])
    gate([], options, empty)


def test_deletions_may_leave_no_rows(options: RewriteOptions, before: PublishedTable) -> None:
    gate([], options, before, kind=LoadKind.INCREMENTAL, rows=0, row_change_fail=0.1)


@pytest.mark.parametrize(("rows", "refused"), [(5, False), (15, False), (4, True), (16, True)])
def test_a_snapshot_beyond_the_permitted_change_is_refused(
    tmp_path: Path, options: RewriteOptions, before: PublishedTable, rows: int, refused: bool
) -> None:
    files = made(tmp_path, good_rows(rows))
    gate(files, options, before)
    if not refused:
        gate(files, options, before, row_change_fail=0.5)
        return
    with pytest.raises(RowCountError, match=f"has {rows} rows, and 10 .*more than 50% changed"):
        gate(files, options, before, row_change_fail=0.5)


NEW = shape({**VALUES, "grade": INT64}, required=["user_id"], version=2)


def test_a_frozen_table_refuses_a_change_and_lists_it() -> None:
    frozen = Contracts.parse("canvas=warn,canvas.enrollments=freeze")
    with pytest.raises(ContractError) as caught:
        check_contract(ENROLLMENTS, ENROLLMENT, NEW, frozen)
    assert "Column grade was added as BIGINT (schema version 1 to 2)." in str(caught.value)
    assert "DAP_PIPELINE_CONTRACT" in str(caught.value)


@pytest.mark.parametrize("text", ["", "canvas=warn", "canvas=freeze,canvas.enrollments=evolve"])
def test_other_contracts_let_a_change_pass_and_tell_it(text: str) -> None:
    (change,) = check_contract(ENROLLMENTS, ENROLLMENT, NEW, Contracts.parse(text))
    assert (change.column, change.from_version, change.to_version) == ("grade", 1, 2)


def test_a_frozen_table_may_be_loaded_first_and_again() -> None:
    frozen = Contracts.parse("*=freeze")
    assert check_contract(ENROLLMENTS, None, ENROLLMENT, frozen) == ()
    assert check_contract(ENROLLMENTS, ENROLLMENT, ENROLLMENT, frozen) == ()


def test_new_words_do_not_break_a_frozen_table() -> None:
    described = {**VALUES, "note": {**STRING, "description": "What the teacher says."}}
    new = shape(described, required=["user_id"], version=2)
    (change,) = check_contract(ENROLLMENTS, ENROLLMENT, new, Contracts.parse("canvas=freeze"))
    assert change.harmless


def test_a_column_that_the_settings_drop_is_no_change_of_the_schema() -> None:
    kept = tuple(c for c in ENROLLMENT.columns if c.name != "note")
    without = replace(ENROLLMENT, columns=kept, dropped=(ENROLLMENT.column("note"),))
    new = replace(ENROLLMENT, schema_version=2)
    assert check_contract(ENROLLMENTS, without, new, Contracts.parse("*=freeze")) == ()


@pytest.mark.parametrize("text", ["canvas", "canvas=frozen", "=warn", "a b=warn", "canvas.=warn"])
def test_a_rule_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(ConfigurationError, match="DAP_PIPELINE_CONTRACT"):
        Contracts.parse(text)


def test_the_rules_come_from_the_settings() -> None:
    given = load_settings(contract="canvas = freeze", may_be_empty="catalog", row_change_fail=0.25)
    rules = GateRules.from_settings(given)
    assert rules.contracts.rules == {"canvas": "freeze"}
    assert rules.may_be_empty == Places(frozenset({"catalog"}))
    assert rules.row_change_fail == 0.25
    with pytest.raises(ConfigurationError, match="DAP_PIPELINE_MAY_BE_EMPTY names 'a b'"):
        GateRules.from_settings(load_settings(may_be_empty="a b"))


keys = st.lists(st.lists(st.integers(-5, 30), min_size=1, max_size=6), min_size=1, max_size=4)


@given(keys, st.booleans())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_repeated_key_is_found_and_no_other(
    tmp_path: Path, options: RewriteOptions, files: list[list[int]], are_texts: bool
) -> None:
    table = shape({}, {"id": STRING if are_texts else INT64})
    written = []
    for number, ids in enumerate(files):
        file = parquet(tmp_path / f"{number}.parquet", table, [{"id": n} for n in ids])
        values: list[Any] = [str(n) for n in ids] if are_texts else [*ids]
        low, high = {"id": min(values)}, {"id": max(values)}
        written.append(replace(file, key_min=low, key_max=high))
    twice = sorted(n for n, many in Counter(n for ids in files for n in ids).items() if many > 1)
    with connect(options) as connection:
        found = repeated_keys(connection, overlapping(written, "id"), table)
    assert found.count == len(twice)
    assert set(found.examples) <= set(map(str, twice))
    assert bool(found) is bool(twice)


def file_of(name: str, low: int, high: int) -> WrittenFile:
    return WrittenFile(Path(name), 1, 1, {"id": low}, {"id": high})


def test_files_whose_keys_lie_apart_are_looked_at_apart() -> None:
    files = [file_of("c", 7, 9), file_of("a", 1, 3), file_of("b", 3, 5), file_of("d", 10, 10)]
    assert list(overlapping(files, "id")) == [["a", "b"], ["c"], ["d"]]


def test_a_file_without_known_bounds_is_looked_at_with_all_others() -> None:
    files = [file_of("a", 1, 3), WrittenFile(Path("b"), 1, 1, {}, {})]
    assert list(overlapping(files, "id")) == [["a", "b"]]
