"""All chapters of the suite, in the order of the document."""

from __future__ import annotations

from .rows_bodies import BODIES, SLOWNESS
from .rows_calls import CALLS
from .rows_jobs import ACCOUNT, EXPIRY, JOBS, ONE_TABLE
from .rows_links import LINKS
from .rows_values import VALUES

CHAPTERS = (CALLS, BODIES, SLOWNESS, EXPIRY, JOBS, ACCOUNT, ONE_TABLE, LINKS, VALUES)
ROWS = tuple(row for chapter in CHAPTERS for row in chapter.rows)
