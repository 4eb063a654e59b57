"""What must hold in every state of a school; each function names what breaks the rule."""

from __future__ import annotations

from typing import Any

from dap_pipeline.sandbox.dialect import Kind
from dap_pipeline.sandbox.school.catalogue import Column, Table, shipped_references, shipped_tables
from dap_pipeline.sandbox.store import Store

# Which table a polymorphic reference lives in, by the word in the type column beside it.
TABLE_OF_TYPE = {
    "Account": "canvas.accounts",
    "AssessmentQuestion": "canvas.assessment_questions",
    "Assignment": "canvas.assignments",
    "ContextModule": "canvas.context_modules",
    "ConversationMessage": "canvas.conversation_messages",
    "Course": "canvas.courses",
    "CourseSection": "canvas.course_sections",
    "DiscussionTopic": "canvas.discussion_topics",
    "Group": "canvas.groups",
    "Quizzes::Quiz": "canvas.quizzes",
    "Submission": "canvas.submissions",
    "User": "canvas.users",
    "WikiPage": "canvas.wiki_pages",
}


def ask(store: Store, query: str) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with store.cursor() as connection:
        return connection.execute(query).fetchall()


def number(store: Store, query: str) -> int:
    """The single number that a query gives."""
    return int(ask(store, query)[0][0])


def dangling_references(store: Store) -> list[str]:
    """References of live rows that lead to no live row."""
    found = []
    for name, columns in shipped_references().items():
        table = shipped_tables()[name]
        for column, targets in columns.items():
            resolved = " OR ".join(
                f'"{column}" IN (SELECT id FROM {shipped_tables()[target].sql_name}'
                " WHERE meta_action = 'U')"
                for target in targets
            )
            dangling = number(
                store,
                f"SELECT count(*) FROM {table.sql_name} WHERE meta_action = 'U'"
                f' AND "{column}" IS NOT NULL AND NOT ({resolved})',
            )
            if dangling:
                found.append(f"{name}.{column}: {dangling}")
    return found


def mismatched_types(store: Store) -> list[str]:
    """Polymorphic references whose type names another table than the id lives in."""
    found = []
    for name, columns in shipped_references().items():
        table = shipped_tables()[name]
        for column in columns:
            kind = column.removesuffix("_id") + "_type"
            typed = table.column(kind)
            if typed is None or not typed.members:
                continue
            for member in typed.members:
                target = TABLE_OF_TYPE.get(str(member))
                if target is None:
                    continue
                wrong = number(
                    store,
                    f"SELECT count(*) FROM {table.sql_name} WHERE meta_action = 'U' AND"
                    f" {kind} = '{member}' AND {column} IS NOT NULL AND {column} NOT IN"
                    f" (SELECT id FROM {shipped_tables()[target].sql_name})",
                )
                if wrong:
                    found.append(f"{name}.{kind} = {member}: {wrong}")
    return found


def duplicate_keys(store: Store) -> list[str]:
    """Tables in which a key occurs twice."""
    return [
        name
        for name, table in shipped_tables().items()
        if number(
            store,
            f"SELECT count(*) - count(DISTINCT {table.key.name}) FROM {table.sql_name}",
        )
    ]


def broken_values(store: Store) -> list[str]:
    """Columns with a NULL where a value is required, an unknown enum member, a text too long."""
    return [
        f"{name}.{column.name}"
        for name, table in shipped_tables().items()
        for broken in [_broken_columns(store, table)]
        for column in table.columns
        if column.name in broken
    ]


def _broken_columns(store: Store, table: Table) -> set[str]:
    counts = ", ".join(
        f'count(*) FILTER ({_is_broken(column)}) AS "{column.name}"' for column in table.columns
    )
    row = ask(store, f"SELECT {counts} FROM {table.sql_name} WHERE meta_action = 'U'")[0]
    return {column.name for column, broken in zip(table.columns, row, strict=True) if broken}


def _is_broken(column: Column) -> str:
    rules = ["false"]
    if column.required:
        rules.append(f'"{column.name}" IS NULL')
    if column.members and column.type.kind is not Kind.LIST:
        members = ", ".join(f"'{member}'" for member in column.members)
        rules.append(f'CAST("{column.name}" AS VARCHAR) NOT IN ({members})')
    if column.max_length is not None:
        rules.append(f'length("{column.name}") > {column.max_length}')
    return " OR ".join(rules)


def times_out_of_order(store: Store) -> list[str]:
    """Tables with rows that changed before they were made, or after their commit."""
    found = []
    for name, table in shipped_tables().items():
        for early, late in (("created_at", "updated_at"), ("updated_at", "meta_ts")):
            known = {column.name for column in table.columns} | {"meta_ts"}
            query = f"SELECT count(*) FROM {table.sql_name} WHERE {early} > {late}"
            if {early, late} <= known and number(store, query):
                found.append(f"{name}: {early} after {late}")
    return found


def fingerprint(store: Store) -> dict[str, tuple[Any, ...]]:
    """A sum over all rows of each table that does not depend on their order."""
    return {
        name: ask(
            store,
            "SELECT count(*), sum(CAST(md5_number_lower(CAST(to_json(t) AS VARCHAR)) AS HUGEINT))"
            f" FROM {table.sql_name} t",
        )[0]
        for name, table in shipped_tables().items()
    }
