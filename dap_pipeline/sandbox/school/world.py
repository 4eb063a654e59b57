"""How big the school is and what its calendar looks like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import accumulate, pairwise

from .expressions import draw, instant

COMMIT_STEP = timedelta(hours=4)
LOG_DAYS = timedelta(days=30)
TERMS_SHOWN = 7
ROWS_PER_COURSE = 1100
FIXED_ROWS = 1500
LARGEST_CLASS = 48

# Name, first month and day, last month and day, share of the courses.
_SEASONS = (
    ("Spring", (1, 25), (6, 20), 14),
    ("Summer", (6, 25), (8, 20), 6),
    ("Autumn", (8, 25), (1, 20), 14),
)
_SHARE_NOW, _SHARE_NEXT = 30, 8


@dataclass(frozen=True)
class Term:
    """One term; `courses` are the ordinals of the courses held in it, from 0."""

    ordinal: int
    name: str
    code: str
    start: datetime
    end: datetime
    share: int
    courses: range = range(0)

    @property
    def id(self) -> int:
        """The key in `enrollment_terms`, where 1 is the default term without dates."""
        return self.ordinal + 1


@dataclass(frozen=True)
class World:
    """What every recipe may know: the seed, the clock, and the size of the school.

    `opened` is the time the school was built for, `now` the commit being made, and `since` the
    commit before it (None while building). All are UTC wall times.
    """

    seed: int
    rows: int
    opened: datetime
    now: datetime
    since: datetime | None = None
    step: int = 0

    @cached_property
    def base_courses(self) -> int:
        """How many courses the school was built with."""
        return max(10, (self.rows - FIXED_ROWS) // ROWS_PER_COURSE * 3 // 4)

    @property
    def courses(self) -> int:
        """How many courses there are now: at least one more with every step."""
        return self.base_courses + self.step * max(1, self.base_courses // 400)

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """Two years of terms up to the one after `now`, with their courses of the first build."""
        return _with_courses(_calendar(self.opened), self.base_courses) + tuple(
            term for term in _calendar(self.now) if term.start > self._planned_until
        )

    @property
    def _planned_until(self) -> datetime:
        return _calendar(self.opened)[-1].start

    @property
    def began(self) -> datetime:
        """When the school began to use the system: two months before the first term."""
        return self.terms[0].start - timedelta(days=60)

    @property
    def busy_term(self) -> Term:
        """The term that was running when the school was built."""
        return self.terms[TERMS_SHOWN - 2]

    @property
    def term_for_new_courses(self) -> Term:
        """The first term that goes on for another month at least."""
        return next(term for term in self.terms if term.end > self.now + timedelta(days=30))

    @cached_property
    def students_per_term(self) -> int:
        """How many students study at the same time."""
        return max(LARGEST_CLASS + 12, len(self.busy_term.courses) * 6)

    @property
    def students_leaving(self) -> int:
        """How many students leave, and how many come, from one term to the next."""
        return max(2, self.students_per_term // 8)

    @property
    def base_students(self) -> int:
        """How many students the school was built with."""
        return self.students_per_term + (TERMS_SHOWN - 1) * self.students_leaving

    @property
    def students(self) -> int:
        """How many students there are now."""
        return self.base_students + self.step * max(2, self.base_students // 300)

    @property
    def staff(self) -> int:
        """How many people work here."""
        return max(12, self.base_courses // 3)

    def draw(self, tag: str, of: str, bound: int) -> str:
        """See `expressions.draw`."""
        return draw(self.seed, tag, of, bound)

    @property
    def now_sql(self) -> str:
        """The constant of `now`."""
        return instant(self.now)

    @property
    def newest_from(self) -> str:
        """The constant from which rows without a time of their own may have been made."""
        return instant(self.since or self.began)

    def at(self, now: datetime) -> World:
        """The same school one step later."""
        return replace(self, since=self.now, now=now, step=self.step + 1)


def _calendar(now: datetime) -> tuple[Term, ...]:
    """The terms from two years ago to the one after the term of `now`."""
    terms = [term for year in range(now.year - 3, now.year + 2) for term in _year(year)]
    current = max(index for index, term in enumerate(terms) if term.start <= now)
    return tuple(terms[current - TERMS_SHOWN + 2 : current + 2])


def _with_courses(terms: tuple[Term, ...], courses: int) -> tuple[Term, ...]:
    shares = [term.share for term in terms[:-2]] + [_SHARE_NOW, _SHARE_NEXT]
    bounds = [0, *(courses * share // sum(shares) for share in accumulate(shares))]
    return tuple(
        replace(term, courses=range(first, last))
        for term, (first, last) in zip(terms, pairwise(bounds), strict=True)
    )


def _year(year: int) -> list[Term]:
    terms = []
    for season, (name, first, last, share) in enumerate(_SEASONS):
        start = datetime(year, *first, 7)
        end = datetime(year + (last < first), *last, 18)
        code = f"{name[:2].upper()}{year % 100:02d}"
        terms.append(Term(year * 3 + season, f"{name} {year}", code, start, end, share))
    return terms
