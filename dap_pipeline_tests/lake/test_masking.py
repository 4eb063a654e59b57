from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

from dap_pipeline.dap.catalogue import load_catalogue
from dap_pipeline.dap.models import TableName
from dap_pipeline.errors import ConfigurationError, MisfitError
from dap_pipeline.lake.columns import Mask, TableShape, shape_of
from dap_pipeline.lake.mask_rules import Action, parse_rules, people_rules
from dap_pipeline.lake.masking import Masking
from dap_pipeline.lake.records import LoadKind
from dap_pipeline.lake.rewriting.rewrite import RewriteOptions, WrittenFile, rewrite
from dap_pipeline.settings import SourceFormat, load_settings

from .making import (
    INT64,
    JSON,
    STRING,
    column_of,
    list_of,
    object_of,
    rows_of,
    shape,
    write_jsonl,
    write_parquet,
)

KEY = "a key of the school that nobody guesses"
NAME = TableName("canvas", "users")
CATALOGUE = load_catalogue()
VALUE: dict[str, Any] = {
    "login": STRING,
    "number": INT64,
    "state": {"type": "string", "enum": ["active", "deleted"]},
    "tags": list_of(STRING),
    "settings": object_of(color=STRING, size=INT64),
    "extra": JSON,
    "plain": STRING,
}
ROWS: list[Mapping[str, Any]] = [
    {
        "login": "Zoë",
        "number": 7,
        "state": "active",
        "tags": ["a", "b"],
        "settings": {"color": "red", "size": 1},
        "extra": {"b": 1},
        "plain": "stays",
    },
    {"login": "", "number": -1, "state": "deleted", "plain": "stays too"},
    {},
]


def masking(text: str, key: str = KEY) -> Masking:
    return Masking(parse_rules(text), SecretStr(key))


def hash_of(text: str, key: str = KEY) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def write(folder: Path, table: TableShape, rows: list[Mapping[str, Any]] = ROWS) -> WrittenFile:
    part = write_jsonl(folder / "part.jsonl.gz", rows_of(rows))
    return rewrite_with_key([part], table, folder)


def rewrite_with_key(parts: list[Path], table: TableShape, folder: Path) -> WrittenFile:
    parquet = parts[0].suffix == ".parquet"
    return rewrite(
        parts,
        table,
        source=SourceFormat.PARQUET if parquet else SourceFormat.JSONL,
        kind=LoadKind.SNAPSHOT,
        target=folder / "tidy.parquet",
        options=RewriteOptions("400MB", 2, folder / "spill", SecretStr(KEY)),
    )


def test_a_hashed_text_is_what_pythons_hmac_gives_and_null_stays_null(tmp_path: Path) -> None:
    table = masking("*.*.login=hash").apply(NAME, shape(VALUE))
    written = write(tmp_path, table)
    assert column_of(written, "login") == [hash_of("Zoë"), hash_of(""), None]


@pytest.mark.parametrize("key", ["k" * 16, "k" * 64, "k" * 65, "Schlüssel der Schule"])
def test_keys_of_every_length_give_pythons_hmac(tmp_path: Path, key: str) -> None:
    table = masking("*.*.login=hash", key).apply(NAME, shape({"login": STRING}))
    part = write_jsonl(tmp_path / "p.jsonl.gz", rows_of([{"login": "ann"}]))
    options = RewriteOptions("400MB", 2, tmp_path / "spill", SecretStr(key))
    written = rewrite(
        [part],
        table,
        source=SourceFormat.JSONL,
        kind=LoadKind.SNAPSHOT,
        target=tmp_path / "t.parquet",
        options=options,
    )
    assert column_of(written, "login") == [hash_of("ann", key)]


def test_a_number_is_hashed_by_its_digits_so_that_it_joins_with_a_text(tmp_path: Path) -> None:
    table = masking("*.*.number=hash").apply(NAME, shape(VALUE))
    assert column_of(write(tmp_path, table), "number") == [hash_of("7"), hash_of("-1"), None]


def test_lists_objects_and_json_are_hashed_as_their_json(tmp_path: Path) -> None:
    table = masking("*.*.tags=hash,*.*.settings=hash,*.*.extra=hash").apply(NAME, shape(VALUE))
    written = write(tmp_path, table)
    assert column_of(written, "tags") == [hash_of('["a","b"]'), None, None]
    assert column_of(written, "settings") == [hash_of('{"color":"red","size":1}'), None, None]
    assert column_of(written, "extra") == [hash_of('{"b":1}'), None, None]


def test_both_formats_give_the_same_hashes(tmp_path: Path) -> None:
    schema = shape({"login": STRING, "number": INT64})
    table = masking("*.*.login=hash,*.*.number=hash").apply(NAME, schema)
    rows: list[Mapping[str, Any]] = [
        {"login": "Zoë", "number": 12},
        {"login": None, "number": None},
    ]
    types: Mapping[str, pa.DataType] = {"login": pa.string(), "number": pa.int64()}
    spark = rewrite_with_key(
        [write_parquet(tmp_path / "p.parquet", types, rows)], table, _new(tmp_path / "a")
    )
    lines = write(_new(tmp_path / "b"), table, [*rows[:1], {}])
    for name in ("login", "number"):
        assert column_of(spark, name) == column_of(lines, name)


@pytest.mark.parametrize("column", list(VALUE))
@pytest.mark.parametrize("action", ["null", "drop", "hash"])
def test_any_column_can_be_masked_and_the_counts_of_cells_still_agree(
    tmp_path: Path, column: str, action: str
) -> None:
    table = masking(f"canvas.users.{column}={action}").apply(NAME, shape(VALUE))
    written = write(tmp_path, table)
    assert written.rows == 3
    if action == "null":
        assert column_of(written, column) == [None] * 3
    assert (column in [c.name for c in table.columns]) == (action != "drop")
    other = "plain" if column != "plain" else "login"
    assert column_of(written, other) == [row.get(other) for row in ROWS]


@pytest.mark.parametrize("action", ["null", "drop", "hash"])
def test_a_property_beside_the_schema_still_fails_the_load(tmp_path: Path, action: str) -> None:
    table = masking(f"canvas.users.login={action}").apply(NAME, shape(VALUE))
    with pytest.raises(MisfitError, match=r"strange.* is not in the table's schema"):
        write(tmp_path, table, [*ROWS, {"login": "x", "strange": 1}])


def test_what_is_dropped_or_nulled_is_not_read_so_it_cannot_be_a_misfit(tmp_path: Path) -> None:
    table = masking("canvas.users.number=null").apply(NAME, shape(VALUE))
    assert write(tmp_path, table, [{"number": "no number"}]).rows == 1
    with pytest.raises(MisfitError, match=r"value\.number"):
        write(tmp_path, shape(VALUE), [{"number": "no number"}])


def test_a_misfit_of_a_hashed_number_is_named_without_its_value(tmp_path: Path) -> None:
    table = masking("canvas.users.number=hash").apply(NAME, shape(VALUE))
    with pytest.raises(MisfitError, match=r"row 2: value\.number") as caught:
        write(tmp_path, table, [{"number": 1}, {"number": "secret-77"}])
    assert "secret-77" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_the_bounds_of_a_hashed_key_are_hashes(tmp_path: Path) -> None:
    table = masking("canvas.users.id=hash").apply(NAME, shape({"plain": STRING}))
    written = write(tmp_path, table, [{"plain": "a"}, {"plain": "b"}])
    hashes = sorted([hash_of("1"), hash_of("2")])
    assert written.key_min == {"id": hashes[0]}
    assert written.key_max == {"id": hashes[1]}


def test_a_required_column_that_is_made_null_is_required_no_more(tmp_path: Path) -> None:
    required = shape(VALUE, required=["login"])
    table = masking("canvas.users.login=null").apply(NAME, required)
    assert not table.column("login").required
    assert column_of(write(tmp_path, table, [{"login": "ann"}]), "login") == [None]


def test_delta_keeps_what_was_masked_and_how_it_was_before() -> None:
    text = "*.*.login=hash,*.*.settings=null,*.*.tags=drop"
    table = masking(text).apply(NAME, shape(VALUE))
    again = TableShape.from_delta_schema(table.delta_schema())
    assert again == table
    assert again.column("login").masked is Mask.HASH
    assert [column.name for column in again.dropped] == ["tags"]
    assert set(again.in_parts().columns) == set(shape(VALUE).columns)


def test_delta_keeps_neither_the_key_nor_anything_that_it_can_be_read_from() -> None:
    schema = masking("*.*.login=hash").apply(NAME, shape(VALUE)).delta_schema()
    assert KEY not in schema
    assert json.loads(schema)["fields"][-1]["metadata"]["dap.mask_key"] != ""


def test_later_rules_win_and_keep_takes_a_column_off_the_ready_list() -> None:
    rules = (*people_rules(), *parse_rules("canvas.users.name=hash, canvas.users.name=keep"))
    users = CATALOGUE.get(NAME)
    assert users
    table = Masking(rules, SecretStr(KEY)).apply(NAME, shape_of(users.schema))
    assert table.column("name").masked is None
    assert table.column("sortable_name").masked is Mask.NULL
    assert table.column("uuid").masked is Mask.HASH


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("canvas.users.nmae=null", "canvas.users.nmae=null names no column"),
        ("canvsa.users.name=null", "canvsa.users.name=null names no column"),
        ("canvas.*.no_such=drop", "names no column"),
        ("canvas.users.id=null", "part of a key"),
        ("canvas.users.id=drop", "part of a key"),
        ("canvas.users.meta_ts=hash", "meta_ts cannot be masked"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_told_before_anything_is_loaded(
    text: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        masking(text).check(CATALOGUE)


@pytest.mark.parametrize("text", ["canvas.users=null", "name=null", "a.b.c=blur", "a.b.c", "=drop"])
def test_a_rule_that_cannot_be_read_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read\. Write rules as `canvas"):
        Masking.from_settings(load_settings(mask=text))


def test_hashing_without_a_key_is_told_with_the_way_to_make_one() -> None:
    with pytest.raises(ConfigurationError, match=r"DAP_PIPELINE_MASK_KEY is not set.*secrets"):
        masking("canvas.users.name=hash", key="").check(CATALOGUE)
    with pytest.raises(ConfigurationError, match="DAP_PIPELINE_MASK_KEY is not set"):
        masking("canvas.users.login=hash", key="").apply(NAME, shape(VALUE))


def test_a_short_key_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="fewer than 16") as caught:
        Masking.from_settings(load_settings(mask_key="short-secret"))
    assert "short-secret" not in str(caught.value)


def test_a_column_that_the_new_schema_lacks_fails_the_load_of_its_table() -> None:
    with pytest.raises(ConfigurationError, match=r"canvas\.users has no column email"):
        masking("canvas.users.email=null").apply(NAME, shape(VALUE))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("", "canvas.users.login=null", "login is made NULL and was published as it is"),
        ("canvas.users.login=null", "", "login is published as it is and was made NULL"),
        ("canvas.users.login=drop", "*.*.login=hash", "login is hashed and was dropped"),
        ("canvas.users.login=drop", "canvas.users.login=drop", None),
        ("*.*.login=hash", "canvas.users.login=hash", None),
    ],
)
def test_a_change_of_the_rules_is_told_in_words(before: str, after: str, told: str | None) -> None:
    published = masking(before).apply(NAME, shape(VALUE))
    assert masking(after).changed_since(NAME, published) == ((told,) if told else ())


def test_another_key_is_a_change_too() -> None:
    published = masking("*.*.login=hash").apply(NAME, shape(VALUE))
    changed = masking("*.*.login=hash", "another key of the school").changed_since(NAME, published)
    assert changed == ("the key of hashed columns is another one",)


def test_the_ready_list_fits_the_shipped_tables_and_tells_its_reasons() -> None:
    known = {
        f"{table.name}.{column.name}"
        for table in CATALOGUE.tables
        for column in shape_of(table.schema).columns
    }
    for rule in people_rules():
        assert rule.because.endswith(".")
        assert rule.action is not Action.KEEP
        if rule.is_exact:
            assert f"{rule.namespace}.{rule.table}.{rule.column}" in known


@pytest.mark.parametrize("table", CATALOGUE.tables, ids=lambda table: str(table.name))
def test_the_ready_list_can_be_applied_to_every_table(table: Any) -> None:
    plain = shape_of(table.schema)
    masked = Masking(people_rules(), SecretStr(KEY)).apply(table.name, plain)
    assert set(masked.in_parts().columns) == set(plain.columns)
    assert masked.key == plain.key


SUSPICIOUS = (
    "email",
    "user_name",
    "sortable_name",
    "_ip",
    "user_agent",
    "pronouns",
    "avatar_image_url",
)


def test_no_shipped_column_that_sounds_like_a_person_is_left_off_the_ready_list() -> None:
    masking_people = Masking(people_rules(), SecretStr(KEY))
    for table in CATALOGUE.tables:
        shape_there = masking_people.apply(table.name, shape_of(table.schema))
        for column in shape_there.columns:
            if column.name.endswith(SUSPICIOUS) and column.kind.value in ("text", "ip"):
                assert column.masked, f"{table.name}.{column.name}"


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder
