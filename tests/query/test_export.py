"""Exports: all rows of the list as a file, over both protocols."""

import csv
import io
import json
from typing import Any

import grpc
import msgspec
import pytest

from seestack.query.v1 import query_pb2
from server.contract.query_method import QueryMethod
from server.query.answers import Item
from tests.batches import make_batch
from tests.patience import PATIENCE_S
from tests.query import data, model
from tests.query.asking import Asking
from tests.query.model import Rows

RANGE = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-04T00:00:00Z"}
NAMES = [field.encode_name for field in msgspec.structs.fields(Item)]


def over_grpc(asking: Asking, **parameters: Any) -> bytes:
    """Return the file over gRPC."""
    call: Any = asking.channel.unary_stream(
        "/seestack.query.v1.QueryService/ExportHttpRequests",
        query_pb2.ExportHttpRequestsRequest.SerializeToString,
        query_pb2.ExportHttpRequestsResponse.FromString,
    )
    request = query_pb2.ExportHttpRequestsRequest(**parameters)
    for name, moment in RANGE.items():
        getattr(request, name).FromJsonString(moment)
    metadata = (("x-seestack-key", asking.key or ""),)
    return b"".join(part.data for part in call(request, timeout=PATIENCE_S, metadata=metadata))


def test_json_lines_are_the_items_of_the_list(asking: Asking, rows: Rows) -> None:
    answer = asking.http(QueryMethod.EXPORT, {**RANGE, "format": "jsonl", "host": data.HOSTS[0]})
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["content-disposition"] == 'attachment; filename="http-requests.jsonl"'
    items = [json.loads(line) for line in answer.body.splitlines()]
    expected = model.select(rows, {**RANGE, "host": data.HOSTS[0]})
    assert [item["id"] for item in items] == [str(row["id"]) for row in expected]
    listed = asking.http(QueryMethod.LIST, {**RANGE, "host": data.HOSTS[0], "perPage": 200}).json["data"]["items"]
    assert items[:200] == listed
    assert over_grpc(asking, format="jsonl", host=data.HOSTS[0]) == answer.body


def test_csv_has_a_head_and_a_line_for_each_row(asking: Asking, rows: Rows) -> None:
    answer = asking.http(QueryMethod.EXPORT, {**RANGE, "format": "csv"})
    head, *lines = csv.reader(io.StringIO(answer.body.decode()))
    assert head == NAMES
    assert [line[0] for line in lines] == [str(row["id"]) for row in model.select(rows, RANGE)]
    assert over_grpc(asking, format="csv") == answer.body


def test_a_cell_that_a_spreadsheet_would_run_is_made_harmless(asking: Asking) -> None:
    server = asking.server
    for sent in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"):
        batch = make_batch(server.project_id, userId=sent, host="formula", timestamp="2020-01-01T00:00:00Z")
        assert server.post(batch).status == 202
    parameters = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z", "host": "formula", "format": "csv"}
    answer = asking.http(QueryMethod.EXPORT, parameters)
    users = [line["userId"] for line in csv.DictReader(io.StringIO(answer.body.decode(), newline=""))]
    assert sorted(users) == sorted(["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1"])


def test_no_rows_are_an_empty_file(asking: Asking) -> None:
    parameters = {**RANGE, "host": "nowhere"}
    assert asking.http(QueryMethod.EXPORT, {**parameters, "format": "jsonl"}).body == b""
    assert asking.http(QueryMethod.EXPORT, {**parameters, "format": "csv"}).body == ",".join(NAMES).encode() + b"\r\n"


def test_parquet_is_written_or_says_what_to_install(asking: Asking, rows: Rows) -> None:
    answer = asking.http(QueryMethod.EXPORT, {**RANGE, "format": "parquet"})
    try:
        import pyarrow.parquet
    except ImportError:
        assert answer.status == 422
        assert "seestack-ingest[parquet]" in answer.json["error"]["details"]["format"]
        with pytest.raises(grpc.RpcError) as raised:
            over_grpc(asking, format="parquet")
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    else:
        table = pyarrow.parquet.read_table(io.BytesIO(answer.body))
        assert table.column_names == NAMES
        assert table["id"].to_pylist() == [str(row["id"]) for row in model.select(rows, RANGE)]
