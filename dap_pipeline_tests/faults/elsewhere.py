"""Faults that tests of other rooms prove already; a test looks whether they are still there."""

from __future__ import annotations

from .proving import CRASHES, SECRETS, Proof

ELSEWHERE = (
    Proof(
        "One table is refused",
        "RequestTypeForbidden, for increments only",
        "`auto` takes a snapshot and says why; one of before is not taken for news.",
        (
            "dap_pipeline_tests/lake/test_refusals.py"
            "::test_a_table_whose_increments_are_forbidden_is_kept_by_snapshots",
        ),
    ),
    Proof(
        "One table is refused",
        "increments are out of range, but the table is only quiet",
        "A snapshot shows that nothing is newer, and is not downloaded.",
        (
            "dap_pipeline_tests/lake/test_refusals.py"
            "::test_a_table_that_is_quiet_for_longer_than_dap_keeps_changes_is_up_to_date",
        ),
    ),
    Proof(
        "One table is refused",
        "increments are out of range, which DAP does not say but begins later",
        "As if it had said so: `auto` takes a snapshot, increments alone fail.",
        (
            "dap_pipeline_tests/lake/test_refusals.py"
            "::test_changes_that_dap_gives_from_later_on_only_are_not_taken_for_all",
        ),
    ),
    Proof(
        "Names and redirects",
        "a redirect of a download from https to http",
        "Is refused: the data would travel in clear.",
        (
            "dap_pipeline_tests/dap/test_transfer_redirects.py"
            "::test_a_redirect_from_https_to_an_open_address_is_refused",
        ),
    ),
    Proof(
        "Schemas and values",
        "the schema has changed, but the job's version was kept",
        "Reads the parts by the job's version.",
        (
            "dap_pipeline_tests/dap/test_schema_book.py"
            "::test_an_older_version_is_known_when_it_was_kept",
        ),
    ),
    Proof(
        "Schemas and values",
        "parts differ in their types, or in the order of their columns",
        "Casts each part on its own to the type of the schema.",
        (
            "dap_pipeline_tests/lake/rewriting/test_rewrite.py"
            "::test_parts_may_differ_in_types_and_order_of_columns",
        ),
    ),
    Proof(
        CRASHES,
        "another load, from another machine, commits first",
        "The load fails with ConcurrentLoadError and changes nothing.",
        ("dap_pipeline_tests/lake/test_tables.py::test_a_load_that_was_overtaken_changes_nothing",),
    ),
    Proof(
        CRASHES,
        "published files are gone, cut short or damaged",
        "A load by snapshot or `auto` brings them back, though DAP has nothing new; increments "
        "alone are refused. Damage that leaves a file its size is seen once changes meet it, or "
        "by a reader.",
        (
            "dap_pipeline_tests/lake/test_harm.py"
            "::test_a_load_brings_lost_files_back_though_dap_has_nothing_new",
        ),
    ),
    Proof(
        CRASHES,
        "published files of logs are gone, whose rows DAP no longer has",
        "The load is refused and asks for a backup; what is left stays as it is.",
        (
            "dap_pipeline_tests/lake/test_following_logs.py"
            "::test_lost_files_are_not_replaced_by_what_dap_still_has",
        ),
    ),
    Proof(
        CRASHES,
        "a table of the lake cannot be read: its log or a file is gone or nonsense",
        "All others are registered in the warehouse. This one is left out, and `register`, `load`, "
        "`status` and Dagster say where it lies and what to do.",
        (
            "dap_pipeline_tests/warehouse/test_reading.py"
            "::test_a_table_that_cannot_be_read_is_left_out_and_told",
        ),
    ),
    Proof(
        CRASHES,
        "the changes of a table cannot be read",
        "The table and all others are registered. Its view of changes is left out rather than "
        "shown empty, which `register`, `load` and Dagster say.",
        (
            "dap_pipeline_tests/warehouse/test_reading.py"
            "::test_changes_that_cannot_be_read_are_left_out_and_not_shown_as_none",
        ),
    ),
    Proof(
        CRASHES,
        "the machine was started anew and counts its seconds from nought",
        "Forgets the calls and rests that seem to lie in the future.",
        (
            "dap_pipeline_tests/dap/test_limits.py"
            "::test_calls_and_pauses_from_before_a_restart_of_the_machine_are_forgotten",
        ),
    ),
    Proof(
        SECRETS,
        "a Dagster run whose steps are processes of their own",
        "Its history on the disk holds no secret, token or signature.",
        (
            "dap_pipeline_tests/orchestration/test_runs.py"
            "::test_no_secret_token_or_link_is_written_to_dagsters_history",
        ),
    ),
)
