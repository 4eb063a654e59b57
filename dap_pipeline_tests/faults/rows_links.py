"""Links with hostile file names, and downloads that are sent elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from dap_pipeline.sandbox.faults import ALWAYS, Fault
from dap_pipeline.sandbox.faults_links import links_named, redirected_to
from dap_pipeline.sandbox.limits import Endpoint

from .outcomes import Recovers
from .rows import Chapter, Row
from .service import School

_INSIDE = (
    "Names a file by its object's number where its own name is odd or taken: none lies outside the "
    "job's folder, none replaces another."
)


def _named(fault: str, path_of: Callable[[int], str]) -> Row:
    def faults(school: School) -> list[Fault]:
        return [Fault(links_named(school.host, path_of), (Endpoint.OBJECT_URL,), times=ALWAYS)]

    # The other host redirects to the link itself.
    return Row(fault, _INSIDE, faults, Recovers(free=True))


def _redirected(school: School) -> list[Fault]:
    return [Fault(redirected_to(school.host), (Endpoint.OBJECT,), times=ALWAYS)]


def _nothing_was_told(school: School) -> None:
    """Check that the other host was sent no credential of any kind."""
    assert len(school.host.seen) == 4
    for headers in school.host.seen:
        assert not headers.keys() & {"authorization", "cookie", "x-instauth"}
        assert not any(school.secret in value for value in headers.values())


LINKS = Chapter(
    "Names and redirects",
    (
        _named("file names with ../", lambda number: f"/a/../../../../{number}/../escaped"),
        _named("file names with %2f and %2e", lambda _: "/x/%2e%2e%2f%2e%2e%2fescaped.gz"),
        _named("file names with a backslash or a NUL", lambda n: f"/x/..%5c{n}%00escaped"),
        _named("file names of 300 characters", lambda number: f"/x/{number}{'n' * 300}.gz"),
        _named("links that end in a slash", lambda _: "/x/part.gz/"),
        _named("the same file name for every object", lambda _: "/x/part-00000.gz"),
        _named(
            "file names that differ by case only", lambda n: f"/x/{('PART', 'part', 'Part')[n]}"
        ),
        _named("links without a file name", lambda _: ""),
        _named("file names that begin with a dot", lambda number: f"/x/.0000{number}.partial"),
        Row(
            "a redirect of downloads to another host",
            "Follows it, and sends the other host no credential.",
            _redirected,
            Recovers(free=True),
            also=_nothing_was_told,
        ),
    ),
)
