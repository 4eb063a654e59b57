"""The lake follows the school over random walks: every step ends in the truth.

Hypothesis chooses each step. Its first walk, in which every choice is the simplest one, goes round
through all tables, changes and modes, since the number of the step is added to what is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from dap_pipeline.errors import (
    AccountError,
    OutOfRangeError,
    SchemaConflictError,
    SnapshotRequiredError,
)
from dap_pipeline.lake.records import LoadKind, LoadMode, Outcome
from dap_pipeline.sandbox import errors
from dap_pipeline.sandbox.errors import ApiError
from dap_pipeline.sandbox.faults import Fault, JobFault
from dap_pipeline.sandbox.faults_answers import changed, made
from dap_pipeline.sandbox.faults_wire import Ending, dropped, lost
from dap_pipeline.sandbox.life import Bump
from dap_pipeline.sandbox.limits import Endpoint
from dap_pipeline.sandbox.school.catalogue import shipped_tables
from dap_pipeline_tests.sandbox.small_school import INSTANT, TEXT, table_schema

from .walking import WEB_LOGS, Schemas, Walk, table_name, walk

pytestmark = pytest.mark.slow

STEPS = 30
# Of the walks of many tables, which are alike: two rounds through all of them.
STEPS_OF_MANY = 20
TABLES_A_WALK = 10
INTEGER = {"type": "integer", "format": "int64"}
MADE_UP: Schemas = {
    "canvas.two_keys": table_schema(
        {"course": INTEGER, "student": INTEGER}, {"score": {"type": "number"}, "note": TEXT}
    ),
    "canvas.mixed_keys": table_schema({"region": TEXT, "number": INTEGER}, {"at": INSTANT}),
    "canvas.uuid_keys": table_schema({"id": {**TEXT, "format": "uuid"}}, {"title": TEXT}),
    "canvas.text_keys": table_schema({"name": TEXT}, {"state": {**TEXT, "enum": ["a", "b"]}}),
    "canvas.keys_alone": table_schema({"a": INTEGER, "b": TEXT}, {}),
}
ROWS = ("insert", "update", "delete", "revive", "bury", "deliver_again")
CHANGES = (*ROWS, "reload", *ROWS, *(bump.value for bump in Bump))
PAUSES = (0.0, 4.0, 0.0, 0.0, 25.0, 0.0, 0.0, 4.0, 0.0, 30.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 800.0)

_DATA, _JOB, _OBJECT = Endpoint.DATA, Endpoint.JOB, Endpoint.OBJECT
RECOVERED: tuple[tuple[Fault | JobFault, ...], ...] = (
    (),
    (Fault(made(lambda: errors.too_many_requests(0).response()), (_DATA,)),),
    (),
    (Fault(made(errors.gateway_timeout), (_DATA, _JOB)),),
    (JobFault("There is no data available yet"),),
    (),
    (Fault(changed(lambda body: body[: len(body) // 2]), (_OBJECT,)),),
    (Fault(lost(), (_DATA,)), Fault(dropped(Ending.RESET), (_OBJECT,))),
)
REFUSED = ApiError(403, "AccountUnderMaintenance", "Come back later.")


class School(RuleBasedStateMachine):
    """Tables that change and a lake that is loaded, one table a step."""

    schemas: ClassVar[Schemas]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.walk: Walk = self.stack.enter_context(walk(self.schemas))
        self.step = 0

    def teardown(self) -> None:
        self.stack.close()

    @rule(
        table=st.integers(0, 100),
        changes=st.lists(st.integers(0, 100), min_size=2, max_size=3),
        rows=st.integers(1, 4),
        pause=st.integers(0, 100),
        fault=st.integers(0, 100),
        mode=st.integers(0, 100),
    )
    def follow(
        self, table: int, changes: list[int], rows: int, pause: int, fault: int, mode: int
    ) -> None:
        """Let a table change, and load it: the modes in turn, the faults in turn."""
        name = self.walk.names[(table + self.step) % len(self.walk.names)]
        # The number of rounds too, else an even number of tables would have one format each.
        self.walk.use(self.step + self.step // len(self.walk.names))
        self.walk.pause(PAUSES[(pause + self.step) % len(PAUSES)])
        for number, change in enumerate(changes):
            what = CHANGES[(change + self.step * 2 + number) % len(CHANGES)]
            # A log that has another key is no longer the log that it was.
            if (name, what) != (WEB_LOGS, Bump.KEY_CHANGED.value):
                self.walk.change(name, what, rows)
        self.walk.faults.switch_on(*RECOVERED[(fault + self.step) % len(RECOVERED)])
        match (mode + self.step) % 5:
            case 0:
                self._only_changes(name)
            case 3:
                self.walk.load(name, LoadMode.SNAPSHOT)
                self.walk.load(name)
            case 4:
                self._refused_at_first(name)
            case _:
                self.walk.load(name)
        self.walk.faults.switch_off()
        if self.step % 3 == 0:
            self._again(name)
        self.step += 1

    def _only_changes(self, name: str) -> None:
        """Where changes cannot be had, nothing else is taken instead."""
        known = self.walk.known[name]
        if known.published is None:
            self.walk.load(name)
            return
        was_changed = known.key_changed
        try:
            result = self.walk.load(name, LoadMode.INCREMENTAL)
        except (OutOfRangeError, SnapshotRequiredError, SchemaConflictError) as error:
            self._nothing_changed(name)
            assert self.walk.load(name).table.load.kind is LoadKind.SNAPSHOT
            is_conflict, words = isinstance(error, SchemaConflictError), str(error)
            told = was_changed if is_conflict else "permitted from" in words
        else:
            kind, words = result.table.load.kind, result.reason
            told = kind is LoadKind.INCREMENTAL or result.outcome is Outcome.UNCHANGED
        assert told, words

    def _refused_at_first(self, name: str) -> None:
        """A load that fails changes nothing, and the next one is none the worse."""
        self.walk.faults.switch_on(Fault(made(REFUSED.response), (_DATA,), times=None))
        with pytest.raises(AccountError):
            self.walk.load(name)
        self._nothing_changed(name)
        self.walk.faults.switch_off()
        self.walk.load(name)

    def _nothing_changed(self, name: str) -> None:
        published = self.walk.engine.lake.table(table_name(name))
        before = self.walk.known[name].published
        assert (published and published.version) == (before and before.version)
        if published is not None:
            self.walk.judge(name)

    def _again(self, name: str) -> None:
        """What is there already changes nothing, though it comes once more."""
        assert self.walk.load(name).outcome is Outcome.UNCHANGED
        result = self.walk.load_with_overlap(name)
        # A new schema without a new row may wait for another query than the one asked before.
        assert result.outcome is Outcome.UNCHANGED or result.schema_changes


def _groups() -> Mapping[str, Schemas]:
    """Share all shipped tables out among walks, so that each has some of every namespace."""
    shipped = shipped_tables()
    count = -(-len(shipped) // TABLES_A_WALK)
    return {
        f"{number}": {name: shipped[name].schema for name in list(shipped)[number::count]}
        for number in range(count)
    }


def _run(schemas: Schemas, walks: int, steps: int = STEPS) -> None:
    machine = type("SchoolOfTheseTables", (School,), {"schemas": schemas})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=walks,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("group", _groups())
def test_all_tables_follow_the_school(group: str) -> None:
    _run(_groups()[group], walks=1, steps=STEPS_OF_MANY)


def test_tables_with_other_keys_follow_the_school() -> None:
    _run(MADE_UP, walks=2)


def test_the_web_log_follows_the_school() -> None:
    _run({WEB_LOGS: shipped_tables()[WEB_LOGS].schema}, walks=2)
