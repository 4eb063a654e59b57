"""SQL that casts what a part holds to the type of its column, or fails: nothing becomes NULL.

DuckDB's own casts are more lenient than a lake may be: they round ``1.5`` to an integer, cut the
seventh digit of a second, take ``epoch`` for an instant and ``1e400`` for infinity. So a text is
cast only after its form was checked; the first branch of each check is the form that DAP writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from dap_pipeline.errors import MisfitError
from dap_pipeline.lake.coltypes import ColumnType, Kind, Member
from dap_pipeline.lake.rewriting.physical import PARSED_JSON, Found, pointer
from dap_pipeline.lake.sql import identifier, literal

_INTEGERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT",
    "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
}  # fmt: skip
_FLOATS = {"FLOAT", "DOUBLE"}
_NAIVE_TIMESTAMPS = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"}
_WITH_ZONE = "TIMESTAMP WITH TIME ZONE"
# Source types that DuckDB casts to a kind without loss, or refuses.
_EXACT = {
    Kind.INTEGER: _INTEGERS,
    Kind.FLOAT: _INTEGERS | _FLOATS,
    Kind.DECIMAL: _INTEGERS,
    Kind.BOOLEAN: {"BOOLEAN"},
    Kind.INSTANT: {*_NAIVE_TIMESTAMPS, _WITH_ZONE},
    Kind.DATE: {"DATE"},
}
_INTEGER = r"[+-]?[0-9]+(\.0*)?"
_INFINITY = r"[+-]?(?i:inf(inity)?)"
_DATE = r"[+-]?[0-9]{4,6}-[0-9]{2}-[0-9]{2}"
_INSTANT = _DATE + r"[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6}0*)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?"


@dataclass(frozen=True)
class Caster:
    """Writes casts that fail on a misfit or, when ``lenient``, make it NULL to locate it."""

    lenient: bool = False

    def cast(self, found: Found, target: ColumnType, depth: int = 0) -> str:
        """Write the SQL that turns what was found into the target type.

        Raises:
            MisfitError: no value of the one type can be one of the other.
        """
        if target.kind is Kind.STRUCT:
            return self._struct(found, target, depth)
        if target.item is not None:
            return self._list(found, target.item, depth)
        if found.type.name in _EXACT.get(target.kind, ()):
            return self._plain(found.sql, target.duckdb, found.type.name)
        if target.kind in _EXACT and found.type.is_nested:
            raise MisfitError(f"holds {found.type.name} where {target.duckdb} belongs")
        return self._from_text(as_text(found), target)

    def _plain(self, sql: str, to: str, source: str) -> str:
        if source == to:
            return sql
        if source in _NAIVE_TIMESTAMPS and to == _WITH_ZONE:
            return _in_utc(sql if source == "TIMESTAMP" else f"CAST({sql} AS TIMESTAMP)")
        return f"{'TRY_CAST' if self.lenient else 'CAST'}({sql} AS {to})"

    def _fail(self, text: str) -> str:
        # The argument depends on the row, else the optimizer would call it right away; the value
        # itself must not get into any message, it may be a student's.
        return "NULL" if self.lenient else f"error('misfit' || left({text}, 0))"

    def _from_text(self, text: str, target: ColumnType) -> str:
        match target.kind:
            case Kind.INTEGER:
                return self._integer(text, target.duckdb)
            case Kind.FLOAT:
                return self._float(text, target.duckdb)
            case Kind.DECIMAL:
                return self._decimal(text, target)
            case Kind.BOOLEAN:
                return self._boolean(text)
            case Kind.INSTANT:
                return self._instant(text)
            case Kind.DATE:
                return self._date(text)
        return text

    def _cases(self, text: str, *cases: tuple[str, str]) -> str:
        branches = " ".join(f"WHEN {condition} THEN {result}" for condition, result in cases)
        return f"CASE {branches} WHEN {text} IS NULL THEN NULL ELSE {self._fail(text)} END"

    def _integer(self, text: str, to: str) -> str:
        number = self._plain(text, to, "VARCHAR")
        same = f"CAST({number} AS VARCHAR) = {text}"
        return self._cases(text, (same, number), (_matches(text, _INTEGER), number))

    def _float(self, text: str, to: str) -> str:
        number = self._plain(text, to, "VARCHAR")
        overflow = f"isinf({number}) AND NOT {_matches(text, _INFINITY)}"
        return f"CASE WHEN {overflow} THEN {self._fail(text)} ELSE {number} END"

    def _decimal(self, text: str, target: ColumnType) -> str:
        number = self._plain(text, target.duckdb, "VARCHAR")
        digits = rf"[+-]?[0-9]*(\.[0-9]{{0,{target.scale}}}0*)?"
        # A text with an exponent stems from a double: comparing as doubles is exact then.
        exponent = (
            f"{_matches(text, '[^eE]+[eE][^eE]+')}"
            f" AND CAST({number} AS DOUBLE) = TRY_CAST({text} AS DOUBLE)"
        )
        return self._cases(text, (_matches(text, digits), number), (exponent, number))

    def _boolean(self, text: str) -> str:
        return self._cases(text, (f"{text} = 'true'", "true"), (f"{text} = 'false'", "false"))

    def _instant(self, text: str) -> str:
        usual = (
            f"({text} LIKE '__________T________.%Z' AND strlen({text}) <= 27"
            f" OR {text} LIKE '__________T________Z')"
        )
        unsigned = f"ltrim({text}, '+')"
        return self._cases(
            text,
            (usual, self._plain(text, _WITH_ZONE, "VARCHAR")),
            (_matches(text, _INSTANT), self._plain(unsigned, _WITH_ZONE, "VARCHAR")),
        )

    def _date(self, text: str) -> str:
        return self._cases(
            text, (_matches(text, _DATE), self._plain(f"ltrim({text}, '+')", "DATE", "VARCHAR"))
        )

    def _struct(self, found: Found, target: ColumnType, depth: int) -> str:
        checked = as_parsed(found)
        if found.type.name == "STRUCT":
            unknown = [m.name for m in found.type.members if m.name not in _names(target)]
            if unknown:
                raise MisfitError(f"has the unknown member {unknown[0]}")
        elif checked.type.is_nested or checked.type != PARSED_JSON:
            raise MisfitError(f"holds {found.type.name} where an object belongs")
        packed = ", ".join(
            f"{identifier(m.name)} := {self._member(checked, m, depth)}" for m in target.members
        )
        cases = [(all_null(checked, target), "NULL")]
        if checked.type == PARSED_JSON:
            cases.insert(0, (not_object(checked.sql, target), self._fail(checked.sql)))
        branches = " ".join(f"WHEN {condition} THEN {result}" for condition, result in cases)
        return f"CASE {branches} ELSE struct_pack({packed}) END"

    def _member(self, found: Found, member: Member, depth: int) -> str:
        inner = member_of(found, member)
        if inner is None:
            raise MisfitError(f"lacks the member {member.name}")
        return f"CAST({self.cast(inner, member.type, depth)} AS {member.type.duckdb})"

    def _list(self, found: Found, item: ColumnType, depth: int) -> str:
        checked, inner = elements_of(found, depth)
        each = f"CAST({self.cast(inner, item, depth + 1)} AS {item.duckdb})"
        mapped = f"list_transform({checked.sql}, lambda {inner.sql}: {each})"
        if found.type.name == "LIST":
            return mapped
        parsed = as_parsed(found).sql
        array = f"json_type({parsed}) = 'ARRAY'"
        null = f"{parsed} IS NULL OR json_type({parsed}) = 'NULL'"
        return (
            f"CASE WHEN {null} THEN NULL WHEN {array} THEN {mapped} ELSE {self._fail(parsed)} END"
        )


def _in_utc(timestamp: str) -> str:
    # The same number of microseconds: many times faster than the cast, which asks a calendar.
    same = f"make_timestamptz(epoch_us({timestamp}))"
    return f"CASE WHEN isfinite({timestamp}) THEN {same} ELSE CAST({timestamp} AS {_WITH_ZONE}) END"


def _matches(text: str, pattern: str) -> str:
    return f"regexp_full_match({text}, {literal(pattern)})"


def _names(target: ColumnType) -> list[str]:
    return [member.name for member in target.members]


def as_text(found: Found) -> str:
    """Write the SQL of a value's text: a text as it is, a nested value as JSON."""
    if found.type == PARSED_JSON:
        return f"json_extract_string({found.sql}, '$')"
    if found.type.name == "BLOB":
        return f"decode({found.sql})"
    if found.type.is_nested:
        return f"CAST(to_json({found.sql}) AS VARCHAR)"
    return found.sql if found.type.name == "VARCHAR" else f"CAST({found.sql} AS VARCHAR)"


def as_parsed(found: Found) -> Found:
    """Take a text for the JSON that it holds; other types stay what they are."""
    if found.type.name in ("VARCHAR", "BLOB"):
        return Found(f"CAST({as_text(found)} AS JSON)", PARSED_JSON)
    return found


def member_of(found: Found, member: Member) -> Found | None:
    """Find a member of a struct or JSON object; None if the part does not have it."""
    if found.type == PARSED_JSON:
        return Found(f"json_extract({found.sql}, {literal(pointer(member.name))})", PARSED_JSON)
    physical = found.type.member(member.name)
    return None if physical is None else Found(physical.of(found.sql), physical.type)


def elements_of(found: Found, depth: int) -> tuple[Found, Found]:
    """Give a list, and the variable that stands for an element of it."""
    variable = f"x{depth}"
    if found.type.item is not None and found.type.name == "LIST":
        return found, Found(variable, found.type.item)
    parsed = as_parsed(found)
    if parsed.type != PARSED_JSON:
        raise MisfitError(f"holds {found.type.name} where a list belongs")
    # Empty for what is no array; whether it is one is checked beside it.
    return Found(f"json_extract({parsed.sql}, '$[*]')", parsed.type), Found(variable, PARSED_JSON)


def all_null(found: Found, target: ColumnType) -> str:
    """Write the condition that a struct holds nothing: then it is NULL, in every format."""
    if target.kind is not Kind.STRUCT:
        return f"{as_text(found)} IS NULL" if found.type == PARSED_JSON else f"{found.sql} IS NULL"
    checked = as_parsed(found)
    inner = ((member_of(checked, member), member.type) for member in target.members)
    conditions = [all_null(member, kind) for member, kind in inner if member is not None]
    return "(" + " AND ".join(conditions or ["true"]) + ")"


def not_object(parsed: str, target: ColumnType) -> str:
    """Write the condition that a JSON value is no object with known members only, nor null."""
    known = "[" + ", ".join(literal(name) for name in _names(target)) + "]"
    keys = f"json_keys({parsed})"
    return (
        f"NOT (coalesce(json_type({parsed}), 'NULL') = 'NULL' OR (json_type({parsed}) = 'OBJECT'"
        f" AND list_has_all({known}, {keys}) AND len(list_distinct({keys})) = len({keys})))"
    )
