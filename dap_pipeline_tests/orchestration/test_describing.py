from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from dap_pipeline.dap.models import TableName
from dap_pipeline.lake.mask_rules import parse_rules
from dap_pipeline.lake.masking import Masking
from dap_pipeline.lake.tables import Lake
from dap_pipeline.orchestration.describing import (
    column_schema,
    documentation_of,
    masked_columns,
    published_metadata,
    registration_metadata,
)
from dap_pipeline_tests.lake.loading import publish
from dap_pipeline_tests.lake.making import INT64, STRING, shape

NAME = TableName("canvas", "enrollments")
SHAPE = shape({"user_id": INT64, "course_id": INT64, "role": STRING, "note": STRING})


def test_a_column_tells_what_it_refers_to() -> None:
    columns = {c.name: c for c in column_schema(NAME, SHAPE).columns}
    assert columns["user_id"].constraints.other == ["refers to canvas.users.id"]
    assert columns["id"].constraints.other == ["key"]
    assert columns["role"].constraints.other == []


def test_masked_columns_are_tagged_counted_and_named(tmp_path: Path) -> None:
    masking = Masking(parse_rules("*.*.role=null,*.*.note=drop"), SecretStr(""))
    masked = masking.apply(NAME, SHAPE)
    columns = {c.name: c for c in column_schema(NAME, masked).columns}
    assert columns["role"].tags == {"dap/masked": "null"}
    assert masked_columns(masked) == ["role (made empty)", "note (dropped)"]
    table = publish(Lake(tmp_path / "lake"), tmp_path, "job", [{}], name=NAME, table=masked)
    metadata = published_metadata(table)
    assert metadata["masked_columns"] == 2
    assert metadata["masked"] == "role (made empty), note (dropped)"


def test_a_view_tells_for_each_column_the_parquet_column_that_it_comes_from(
    tmp_path: Path,
) -> None:
    table = publish(Lake(tmp_path / "lake"), tmp_path, "job", [{}], name=NAME, table=SHAPE)
    metadata = registration_metadata(table, tmp_path / "warehouse.duckdb", 0.1)
    lineage = metadata["dagster/column_lineage"]
    assert isinstance(lineage, dg.TableColumnLineageMetadataValue)
    deps = lineage.value.deps_by_column
    assert list(deps) == [column.name for column in SHAPE.columns]
    assert deps["role"] == [
        dg.TableColumnDep(asset_key=dg.AssetKey(["canvas", "enrollments"]), column_name="role")
    ]


@pytest.mark.parametrize(
    ("name", "end"),
    [
        (TableName("canvas", "users"), "/dataset-namespaces/dataset-canvas#users"),
        (TableName("canvas_logs", "web_logs"), "/dataset-namespaces/dataset-canvaslogs#web_logs"),
        (TableName("catalog", "orders"), "/dataset-namespaces/dataset-catalog#orders"),
        (TableName("new_quizzes", "items"), "/dap/dataset/dataset-namespaces"),
    ],
)
def test_the_page_of_instructure_is_linked(name: TableName, end: str) -> None:
    assert str(documentation_of(name).value).endswith(end)
