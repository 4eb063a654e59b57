"""SQL expressions that write a value of a DAP field as text, TSV, CSV or JSON.

Each function takes an SQL expression and gives one that is NULL where the value is NULL.
"""

from __future__ import annotations

from .dialect import Field, FieldType, Kind, literal, quoted

_TSV_ESCAPES = {
    "\\": "\\\\",  # first: the other escapes bring backslashes of their own
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\0": "\\0",  # not in DAP's list, but its own client reads it
}
_COMMON_ERA = "BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'"


def member(expression: str, name: str) -> str:
    """Take one member of a struct."""
    return f"struct_extract({expression}, {literal(name)})"


def plain(expression: str, kind: FieldType) -> str:
    """Write a value bare, as it stands in a text file before any escaping."""
    match kind.kind:
        case Kind.INSTANT:
            return instant(expression)
        case Kind.DATE:
            return _date(expression)
        case Kind.TIME:
            return f"({expression}::VARCHAR || 'Z')"
        case Kind.FLOAT:
            return _float(expression)
        case Kind.TEXT:
            return expression
        case Kind.JSON:
            return _one_line(expression)
        case Kind.STRUCT | Kind.LIST:
            return json_value(expression, kind)
        case Kind.INTEGER | Kind.DECIMAL | Kind.BOOLEAN:
            return f"{expression}::VARCHAR"


def tsv(expression: str, kind: FieldType) -> str:
    """Write a TSV field; NULL stays NULL."""
    text = plain(expression, kind)
    if not _may_need_escapes(kind):
        return text
    for character, escape in _TSV_ESCAPES.items():
        text = f"replace({text}, chr({ord(character)}), {literal(escape)})"
    return text


def csv(expression: str, kind: FieldType) -> str:
    """Write a CSV field, quoted where RFC 4180 or the difference of '' and NULL asks for it."""
    text = plain(expression, kind)
    if not _may_need_escapes(kind):
        return text
    special = rf"""regexp_matches({text}, '[\x00-\x1f",]') OR {text} IN ('', 'NULL')"""
    return f"""CASE WHEN {special} THEN '"' || replace({text}, '"', '""') || '"' ELSE {text} END"""


def json_value(expression: str, kind: FieldType, depth: int = 0) -> str:
    """Write a JSON value; members that are NULL are left out."""
    match kind.kind:
        case Kind.STRUCT:
            return _json_struct(expression, kind.fields, depth)
        case Kind.LIST if kind.item is not None:
            item = f"item{depth}"
            # The body of a lambda must give a text for every item: a list keeps its nulls.
            text = f"coalesce({json_value(item, kind.item, depth + 1)}, 'null')"
            items = f"list_transform({expression}, lambda {item}: {text})"
            return f"('[' || array_to_string({items}, ',') || ']')"
        case Kind.TEXT:
            return f"to_json({expression})::VARCHAR"
        case Kind.INSTANT | Kind.DATE | Kind.TIME:
            return f"""('"' || {plain(expression, kind)} || '"')"""
        case Kind.FLOAT:
            quote = f"CASE WHEN isfinite({expression}) THEN '' ELSE '\"' END"
            return f"({quote} || {plain(expression, kind)} || {quote})"
        case _:
            return plain(expression, kind)


def json_members(fields: tuple[tuple[str, str, FieldType], ...], depth: int = 0) -> str:
    """Write `"name":value` pairs, comma-separated, without those that are NULL."""
    pairs = [
        f"{literal(json_name(name) + ':')} || {json_value(expression, kind, depth)}"
        for name, expression, kind in fields
    ]
    return f"concat_ws(',', {', '.join(pairs)})" if pairs else "''"


def json_name(name: str) -> str:
    """Quote the name of a JSON property."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def condensed(expression: str, kind: FieldType) -> str:
    """Write a nested object as one JSON text, NULL if all its values are NULL."""
    leaves = " AND ".join(f"{leaf} IS NULL" for leaf in _leaves(expression, kind))
    return f"CASE WHEN {leaves} THEN NULL ELSE {json_value(expression, kind)} END"


def instant(expression: str) -> str:
    """Write an instant in UTC; years outside 1 to 9999 in the extended form of ISO 8601."""
    precise = _before_common_era(expression, "-%m-%d %H:%M:%S.%f")
    extended = (
        f"CASE WHEN year({expression}) > 9999 THEN '+' || {expression}::VARCHAR"
        f" ELSE rtrim(rtrim({precise}, '0'), '.') END"
    )
    text = f"CASE WHEN {expression} {_COMMON_ERA} THEN {expression}::VARCHAR ELSE {extended} END"
    return f"(replace({text}, ' ', 'T') || 'Z')"


def _date(expression: str) -> str:
    return (
        f"CASE WHEN year({expression}) > 9999 THEN '+' || {expression}::VARCHAR"
        f" WHEN year({expression}) < 1 THEN {_before_common_era(expression, '-%m-%d')}"
        f" ELSE {expression}::VARCHAR END"
    )


def _before_common_era(expression: str, rest: str) -> str:
    year = f"if(year({expression}) < 0, '-', '') || format('{{:04d}}', -year({expression}))"
    return f"{year} || strftime({expression}, {literal(rest)})"


def _float(expression: str) -> str:
    return (
        f"CASE WHEN isfinite({expression}) THEN {expression}::VARCHAR"
        f" WHEN isnan({expression}) THEN 'NaN'"
        f" WHEN {expression} > 0 THEN 'Infinity'"
        f" WHEN {expression} < 0 THEN '-Infinity' END"
    )


def _one_line(expression: str) -> str:
    # Raw line ends stand only between the tokens of a JSON text, so a space means the same.
    return f"replace(replace({expression}, chr(10), ' '), chr(13), ' ')"


def _json_struct(expression: str, fields: tuple[Field, ...], depth: int) -> str:
    members = tuple((each.name, member(expression, each.name), each.type) for each in fields)
    pairs = json_members(members, depth)
    return f"CASE WHEN {expression} IS NULL THEN NULL ELSE '{{' || {pairs} || '}}' END"


def _leaves(expression: str, kind: FieldType) -> list[str]:
    if kind.kind is not Kind.STRUCT:
        return [expression]
    return [
        leaf
        for field in kind.fields
        for leaf in _leaves(member(expression, field.name), field.type)
    ]


def _may_need_escapes(kind: FieldType) -> bool:
    return kind.kind in {Kind.TEXT, Kind.JSON, Kind.STRUCT, Kind.LIST}


def column(field: Field) -> str:
    """Name the DuckDB column of a key or value field."""
    return quoted(field.name)
