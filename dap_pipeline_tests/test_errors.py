from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable, Iterator

import pytest

from dap_pipeline import errors
from dap_pipeline.errors import (
    AccountError,
    CancelledError,
    DapPipelineError,
    JobFailedError,
    NotFoundError,
    OutOfRangeError,
    Place,
    RateLimitedError,
    ServerError,
    SnapshotRequiredError,
    StorageError,
    UnknownTableError,
)

LINE = re.compile(r"^    (?P<bars>[│├└─ ]*)(?P<name>\w+)(?P<rest>.*)$")
EVERY_CLASS = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, DapPipelineError)
]


def drawn_tree() -> Iterator[tuple[str, str | None, bool, bool]]:
    """Read name, parent and marks of every class from the docstring of the module."""
    assert errors.__doc__ is not None
    drawing = errors.__doc__.partition("::\n")[2].partition("\nWhether")[0]
    above: list[str] = []
    for line in drawing.splitlines():
        if match := LINE.match(line):
            depth = len(match["bars"]) // 4
            parent = above[depth - 1] if depth else None
            above[depth:] = [match["name"]]
            rest = match["rest"]
            yield match["name"], parent, "(retryable)" in rest, "(ends the run)" in rest


def real_tree() -> Iterator[tuple[str, str | None, bool, bool]]:
    for found in EVERY_CLASS:
        parent = None if found is DapPipelineError else found.__bases__[0].__name__
        yield found.__name__, parent, found.retryable, found.ends_run


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert sorted(drawn_tree(), key=str) == sorted(real_tree(), key=str)


@pytest.mark.parametrize("kind", EVERY_CLASS)
def test_every_error_says_in_one_sentence_what_it_is_and_what_to_do(
    kind: type[DapPipelineError],
) -> None:
    assert kind.__doc__ is not None
    assert kind.__doc__.partition("\n\n")[0].rstrip().endswith(".")
    assert kind.advice.endswith(".")


def test_the_text_says_what_happened_where_and_last_what_to_do() -> None:
    place = Place(uuid="1b9d", error_type="ProcessingError")
    error = JobFailedError("the job failed.", place=place, advice="Wait.")
    error.at("canvas", "courses", "5f2c")
    assert str(error) == (
        "canvas.courses: the job failed"
        " (job 5f2c, DAP error type ProcessingError, uuid 1b9d). Wait."
    )


def test_what_is_not_known_is_not_named() -> None:
    assert str(UnknownTableError("no such table", advice="Look.")) == "no such table. Look."
    assert str(UnknownTableError("gone", advice="Look.").at("canvas")) == "canvas: gone. Look."


def test_a_place_that_is_known_already_is_kept() -> None:
    error = ServerError("down", place=Place(job_id="first"))
    assert error.at("canvas", "users", "second") is error
    assert error.place == Place("canvas", "users", "first")


FULL = Place("canvas", "courses", "5f2c", "1b9d", "Kind")
SAMPLES: list[DapPipelineError] = [
    DapPipelineError("what", place=FULL),
    AccountError("disabled", advice="Ask.", place=FULL),
    RateLimitedError("slow down", retry_after=3.5, place=FULL),
    ServerError("down", retry_after=2.0, advice="Later.", place=FULL),
    NotFoundError("gone", kind="object", place=FULL),
    OutOfRangeError("too old", since="a", until="b", place=FULL),
    SnapshotRequiredError("reloaded", since="a", until=None, place=FULL),
    StorageError("full").at("canvas", "users"),
]


def pickled(error: DapPipelineError) -> DapPipelineError:
    arrived = pickle.loads(pickle.dumps(error))
    assert isinstance(arrived, DapPipelineError)
    return arrived


@pytest.mark.parametrize("error", SAMPLES, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("again", [pickled, copy.copy])
def test_an_error_that_travels_between_processes_keeps_all_that_it_knows(
    error: DapPipelineError, again: Callable[[DapPipelineError], DapPipelineError]
) -> None:
    error.add_note("a note")
    arrived = again(error)
    assert type(arrived) is type(error)
    assert vars(arrived) == vars(error)
    assert str(arrived) == str(error)
    assert arrived.args == error.args
    assert arrived.__notes__ == error.__notes__


def test_a_stop_ends_the_run_but_is_no_fault_of_dap() -> None:
    assert CancelledError.ends_run
    assert not issubclass(CancelledError, errors.DapError)
