"""SQL expressions that look random but depend only on the seed, the table, the column and the key.

Every row carries two 32-bit numbers, `r1` and `r2`, drawn from an MD5 sum of seed, table and key.
A column mixes them with two odd factors of its own: cheap, independent of the number of threads,
and the same in every version of DuckDB, which its own `hash()` does not promise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from dap_pipeline.sandbox.dialect import literal

_WORD = 0xFFFFFFFF
_RANGE = 1 << 32


def seeded(seed: int, table: str, key: str, source: str) -> str:
    """Add `r1` and `r2` to the rows of a source."""
    number = f"md5_number_lower(concat('{seed}:{table}:', \"{key}\"))"
    return (
        f"SELECT * EXCLUDE (mixed), mixed & {_WORD}::UBIGINT AS r1, mixed >> 32 AS r2"
        f" FROM (SELECT *, {number} AS mixed FROM ({source}))"
    )


def draw(seed: int, tag: str, of: str, bound: int) -> str:
    """A number from 0 to `bound` - 1 that depends on any expression; dearer than `roll`."""
    return f"CAST(md5_number_lower(concat('{seed}:{tag}:', {of})) % {bound} AS BIGINT)"


def roll(tag: str, bound: int = _RANGE) -> str:
    """A number from 0 to `bound` - 1 for this row."""
    digest = hashlib.blake2b(tag.encode(), digest_size=8).digest()
    # 31 and 30 bits: the sum of the two products stays below 2^64.
    first = int.from_bytes(digest[:4], "big") >> 1 | 1
    second = int.from_bytes(digest[4:], "big") >> 2 | 1
    mixed = f"((r1 * {first}::UBIGINT + r2 * {second}::UBIGINT) >> 16) & {_WORD}::UBIGINT"
    return f"CAST(({mixed}) % {bound} AS BIGINT)"


def between(tag: str, low: int, high: int) -> str:
    """A whole number from `low` to `high`, both included."""
    return f"({low} + {roll(tag, high - low + 1)})"


def fraction(tag: str) -> str:
    """A number from 0 up to, but not including, 1."""
    return f"({roll(tag)} / {_RANGE}.0::DOUBLE)"


def chance(tag: str, per_mille: int) -> str:
    """True in so many of a thousand rows."""
    return f"({roll(tag, 1000)} < {per_mille})"


def maybe(tag: str, per_mille: int, expression: str, otherwise: str = "NULL") -> str:
    """The expression in so many of a thousand rows, else the other."""
    return f"CASE WHEN {chance(tag, per_mille)} THEN {expression} ELSE {otherwise} END"


def listed(values: Sequence[str | int]) -> str:
    """A SQL list of constants."""
    return f"[{', '.join(constant(value) for value in values)}]"


def one_of(tag: str, values: Sequence[str | int]) -> str:
    """One of the constants, all equally likely."""
    if len(values) == 1:
        return constant(values[0])
    return f"{listed(values)}[1 + {roll(tag, len(values))}]"


def weighted(tag: str, weights: Mapping[str, int]) -> str:
    """One of the texts, as likely as its weight says."""
    values = [value for value, weight in weights.items() for _ in range(weight)]
    return one_of(tag, values)


def moment(tag: str, start: str, end: str) -> str:
    """An instant between two others, to the millisecond."""
    length = f"(epoch_ms({end}) - epoch_ms({start}))"
    return f"make_timestamp_ms(epoch_ms({start}) + CAST({fraction(tag)} * {length} AS BIGINT))"


def part_way(start: str, end: str, number: str, of: str) -> str:
    """The instant after so many of so many equal parts of a span, to the millisecond."""
    length = f"(epoch_ms({end}) - epoch_ms({start}))"
    return f"make_timestamp_ms(epoch_ms({start}) + {length} * ({number}) // ({of}))"


def later(instant_expression: str, seconds: str) -> str:
    """An instant plus a number of seconds, which may be an expression or negative."""
    return f"({instant_expression} + to_seconds({seconds}))"


def instant(when: datetime) -> str:
    """The constant of a UTC wall time."""
    return f"TIMESTAMP '{when:%Y-%m-%d %H:%M:%S.%f}'"


def hexadecimal(tag: str) -> str:
    """32 hexadecimal digits."""
    return f"md5(concat('{tag}', r1, ':', r2))"


def uuid(tag: str) -> str:
    """A UUID as text."""
    return uuid_of(hexadecimal(tag))


def uuid_of(digits: str) -> str:
    """The UUID with these 32 hexadecimal digits, as text."""
    return f"CAST(CAST({digits} AS UUID) AS VARCHAR)"


def constant(value: str | int) -> str:
    """A constant text or number."""
    return str(value) if isinstance(value, int) else literal(value)


def commit_time(changed: str, now: datetime, step: timedelta) -> str:
    """The first commit at or after a change, commits being `step` apart up to `now`."""
    milliseconds = int(step / timedelta(milliseconds=1))
    back = f"((epoch_ms({instant(now)}) - epoch_ms({changed})) // {milliseconds})"
    return f"({instant(now)} - to_milliseconds({back} * {milliseconds}))"
