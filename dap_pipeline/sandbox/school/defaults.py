"""What a column holds when its recipe does not say: rules by name, then by type."""

from __future__ import annotations

from collections.abc import Mapping

from dap_pipeline.sandbox.dialect import Kind

from .catalogue import UNSPECIFIED, Column, Table
from .expressions import (
    between,
    chance,
    constant,
    hexadecimal,
    instant,
    listed,
    maybe,
    moment,
    one_of,
    roll,
    uuid,
    weighted,
)
from .words import words
from .world import World

FILLED_PER_MILLE = 550

# Columns that this school never uses.
_UNUSED = frozenset(
    [
        "abstract_course_id",
        "app_center_id",
        "assessment_request_id",
        "authentication_provider_id",
        "child_subscription_id",
        "cloned_item_id",
        "consortium_parent_account_id",
        "course_template_id",
        "current_sis_batch_id",
        "external_feed_id",
        "group_comment_id",
        "group_id",
        "ip_filter",
        "latest_outcome_import_id",
        "lti_user_id",
        "media_comment_id",
        "media_comment_type",
        "media_entry_id",
        "media_object_id",
        "merged_into_user_id",
        "outcome_import_id",
        "provisional_grade_id",
        "resource_link_lookup_uuid",
        "role",
        "sis_batch_id",
        "temporary_user_code",
        "turnitin_id",
        "unified_tool_id",
        "usage_rights_id",
        "vendor_guid",
        "version_id",
        "last_sync_error",
    ]
)

# States by how common they are; a state that is not listed is rare.
_COMMON_STATES = {
    "active": 60,
    "available": 60,
    "published": 60,
    "registered": 60,
    "processed": 60,
    "public": 30,
    "completed": 20,
    "read": 20,
    "unpublished": 4,
    "deleted": 3,
}

_JSON: Mapping[str, tuple[str, ...]] = {
    "answers": ('[{"id":4501,"text":"Yes","weight":100.0},{"id":4502,"text":"No","weight":0.0}]',),
    "completion_requirements": ("[]", '[{"id":17,"type":"must_view"}]'),
    "custom_fields": ("{}", '{"department":"Physics","nick\\"name":"Zoë"}'),
    "data": ('[["A",0.9],["B",0.8],["C",0.7],["F",0.0]]', '[{"id":"_1","points":5.0}]'),
    "default_restrictions": ('{"content":true,"points":false}', "{}"),
    "default_restrictions_by_type": ("{}", '{"Assignment":{"points":true}}'),
    "downstream_changes": ("[]", '["title"]'),
    "export_results": ('{"selective":{"exported":12}}', "{}"),
    "extensions": ("{}", '{"https://tool.example.edu/claim":["a","b"]}'),
    "incomplete_requirements": ("[]", '[{"id":17,"type":"min_score","min_score":3.5}]'),
    "link_settings": ("{}", '{"selection_width":800}'),
    "migration_settings": ('{"import_in_progress_notice":null,"overwrite_quizzes":false}', "{}"),
    "never_drop": ("[]", "[1024]"),
    "old_pdf_settings": ('{"orientation":"landscape"}',),
    "pdf_settings": ('{"orientation":"landscape","page_size":"A4"}',),
    "prerequisites": ("[]", '[{"id":3,"type":"context_module","name":"Week \\"1\\""}]'),
    "public_jwk": ('{"kty":"RSA","e":"AQAB","alg":"RS256","use":"sig"}',),
    "purchase_params": ('{"gateway":"test","currency":"EUR"}', "{}"),
    "question_data": ('{"question_type":"true_false_question","points_possible":1.0}',),
    "requirements_met": ("[]", '[{"id":17,"type":"must_view"}]'),
    "restrictions": ('{"content":true}', "{}"),
    "results": ('{"skipped":[]}', "{}"),
    "scopes": ("[]", '["url:GET|/api/v1/courses"]'),
    "settings": ('{"a":1,"nested":{"b":[1,2]}}', "{}"),
    "submission_data": ('{"1":{"text":"True","points":1.0}}', "[]"),
    "summary_data": ('{"saved_comments":{}}',),
    "tab_configuration": ('[{"id":0},{"id":14},{"id":5,"hidden":true}]', "[]"),
    "text_overrides": ("{}", '{"en":{"buy":"Enrol now"}}'),
    "turnitin_data": ('{"last_processed_attempt":1}',),
}

_TOKENS = frozenset({"uuid", "integration_id", "lti_context_id", "migration_id", "token", "md5"})
_LONG_TEXTS = frozenset(
    [
        "about",
        "body",
        "comment",
        "comments",
        "description",
        "message",
        "notes",
        "public_description",
        "syllabus_body",
        "teaser",
        "turnitin_comments",
    ]
)


def default(column: Column, table: Table, world: World) -> str:
    """The expression for a column that the recipe leaves open.

    Raises:
        ValueError: A required reference needs a rule of its own.
    """
    if column.references or column.name in _UNUSED:
        if column.required:
            raise ValueError(f"No rule for the reference {table.name}.{column.name}.")
        return "NULL"
    expression = by_name(column) or by_type(column, world)
    if column.required:
        return expression
    return maybe(f"{column.name} is filled", FILLED_PER_MILLE, expression)


def by_name(column: Column) -> str | None:
    """The rule for this name, if there is one."""
    name = column.name
    if column.type.kind is not Kind.TEXT or column.members or column.format:
        return None
    if name in _JSON:
        return one_of(name, _JSON[name])
    if name in _TOKENS:
        return hexadecimal(name)
    if name in _LONG_TEXTS:
        return long_text(name)
    return _short_text(name)


def _short_text(name: str) -> str | None:
    lists = words()
    if name == "time_zone":
        return one_of(name, lists.time_zones)
    if name in ("locale", "default_locale"):
        return one_of(name, lists.locales)
    if name.endswith(("url", "uri")):
        return f"concat('https://school.example.edu/{name}/', {roll(name, 1_000_000)})"
    if name.endswith("file_name"):
        return one_of(name, lists.file_names)
    if name.endswith("content_type"):
        return one_of(name, ("image/png", "image/svg+xml", "text/css"))
    if "sis_source_id" in name:
        return f"concat('SIS-', {roll(name, 100_000_000)})"
    if name in ("title", "name", "display_name", "label", "short_description"):
        return one_of(name, lists.titles)
    return None


def by_type(column: Column, world: World) -> str:
    """The rule for this type."""
    name = column.name
    if column.members and column.type.kind is not Kind.LIST:
        return enum_member(column)
    match column.type.kind:
        case Kind.BOOLEAN:
            return chance(name, 180)
        case Kind.INTEGER:
            return between(name, 1, 20)
        case Kind.FLOAT:
            return f"({roll(name, 201)} / 2.0::DOUBLE)"
        case Kind.DECIMAL:
            return f"({roll(name, 5000)} / 100.0)"
        case Kind.INSTANT:
            return moment(name, instant(world.began), world.now_sql)
        case Kind.DATE:
            return f"CAST({moment(name, instant(world.began), world.now_sql)} AS DATE)"
        case Kind.LIST:
            return _list(column)
        case Kind.STRUCT:
            return _struct(column, world)
        case _:
            return uuid(name) if column.format == "uuid" else one_of(name, words().tricky_texts)


def enum_member(column: Column) -> str:
    """A member of the enum, the common states more often than the others."""
    members = column.plain_members
    if all(isinstance(member, str) for member in members) and any(
        member in _COMMON_STATES for member in members
    ):
        return weighted(column.name, {str(m): _COMMON_STATES.get(str(m), 1) for m in members})
    return one_of(column.name, members)


def known_member(column: Column, expression: str) -> str:
    """The expression, or DAP's stand-in where the enum does not list the value."""
    if UNSPECIFIED not in column.members or column.type.kind is not Kind.TEXT:
        return expression
    known = ", ".join(constant(member) for member in column.members)
    return (
        f"CASE WHEN {expression} IN ({known}) THEN {expression}"
        f" WHEN {expression} IS NOT NULL THEN '{UNSPECIFIED}' END"
    )


def long_text(tag: str) -> str:
    """A text of one to three sentences; every twentieth is of the kind that breaks parsers."""
    lists = words()
    first, second = one_of(f"{tag} 1", lists.sentences), one_of(f"{tag} 2", lists.sentences)
    return (
        f"CASE WHEN {chance(f'{tag} is tricky', 50)} THEN {one_of(tag, lists.tricky_texts)}"
        f" WHEN {chance(f'{tag} is long', 300)} THEN concat('<p>', {first}, '</p>\n<p>', {second},"
        f" '</p>') ELSE {first} END"
    )


def _list(column: Column) -> str:
    if column.members:
        return f"[{one_of(column.name, column.plain_members)}]"
    links = listed(["https://tool.example.edu/return", "https://tool.example.org/a?b=c,d"])
    return f"{links}[1:{roll(column.name, 3)}]"


def _struct(column: Column, world: World) -> str:
    members = []
    for inner in column.inner:
        tag = f"{column.name}.{inner.name}"
        value = (
            (one_of(tag, _JSON[inner.name]) if inner.name in _JSON else one_of(tag, _FLAGS))
            if inner.type.kind is Kind.TEXT
            else by_type(inner, world)
        )
        members.append(f'"{inner.name}" := {maybe(f"{tag} is filled", 400, value)}')
    return f"struct_pack({', '.join(members)})"


_FLAGS = ("true", "false", "", '{"enabled":true,"text":"Über \\"uns\\""}')
