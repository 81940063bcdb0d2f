"""Asks queries over HTTP and over gRPC alike, and gives the answers as the structs of the service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints
from urllib.parse import urlencode

import grpc
import msgspec
from google.protobuf.json_format import MessageToDict, ParseDict

from http_bridge.query_routes import PATHS
from server.contract.query_method import QueryMethod
from server.grpc.query_messages import REQUESTS, RESPONSES
from server.query import answers
from server.query.answers import Answer
from storage.database import connect
from storage.keys.api_keys import Scope, create_key
from storage.keys.projects import find_project
from tests.grpc_client import refusal_of
from tests.patience import PATIENCE_S
from tests.running_server import Answer as HttpAnswer
from tests.running_server import RunningServer

ANSWERS: dict[QueryMethod, type[Answer]] = {
    QueryMethod.LIST: answers.ItemPage,
    QueryMethod.STATS: answers.Stats,
    QueryMethod.TIME_SERIES: answers.TimeSeries,
    QueryMethod.DISTRIBUTION: answers.Distribution,
    QueryMethod.TOP_HOSTS: answers.TopHosts,
    QueryMethod.TOP_ENDPOINTS: answers.TopEndpoints,
    QueryMethod.TRACE: answers.Trace,
}
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Asking:
    """Asks a server with a raw key; None is none."""

    server: RunningServer
    channel: grpc.Channel
    key: str | None

    def create_key(self) -> str:
        """Return another key to read the server's own project."""
        with connect(self.server.database_url) as connection:
            project = find_project(connection, self.server.project_id)
            return create_key(connection, project.id, "read", scope=Scope.READ)[1]

    def http(self, method: QueryMethod, parameters: Parameters | str) -> HttpAnswer:
        """Return the HTTP answer; parameters may be a query string."""
        query = parameters if isinstance(parameters, str) else urlencode(parameters)
        headers = {} if self.key is None else {"X-SeeStack-Key": self.key}
        return self.server.request("GET", f"{PATHS[method]}?{query}", headers=headers)

    def over_http(self, method: QueryMethod, /, **parameters: Any) -> Any:
        """Return the answer over HTTP."""
        answer = self.http(method, parameters)
        assert answer.status == 200, answer.body
        body = answer.json
        assert set(body) == {"success", "data", "meta"}
        assert body["success"] is True
        assert body["meta"]["requestId"] == answer.headers["x-request-id"]
        return msgspec.convert(body["data"], ANSWERS[method])

    def over_grpc(self, method: QueryMethod, /, **parameters: Any) -> Any:
        """Return the answer over gRPC. Raises Refusal."""
        request = ParseDict(parameters, REQUESTS[method]())
        call: Any = self.channel.unary_unary(
            f"/seestack.query.v1.QueryService/{method}", None, RESPONSES[method].FromString
        )
        metadata = () if self.key is None else (("x-seestack-key", self.key),)
        try:
            response = call(request.SerializeToString(), timeout=PATIENCE_S, metadata=metadata)
        except grpc.RpcError as error:
            raise refusal_of(error) from error
        return _to_struct(MessageToDict(response, always_print_fields_with_no_presence=True), ANSWERS[method])

    def both(self, method: QueryMethod, /, **parameters: Any) -> Any:
        """Return the answer, which must be the same over both."""
        over_http = self.over_http(method, **parameters)
        assert self.over_grpc(method, **parameters) == over_http
        return over_http


def _to_struct(value: Any, kind: Any) -> Any:
    """Return protobuf's JSON as a struct: integers of 64 bits are strings in it, and absent fields are left out."""
    if isinstance(kind, type) and issubclass(kind, Answer):
        fields = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}
        hints = get_type_hints(kind)
        return kind(**{name: _to_struct(value.get(encoded), hints[name]) for name, encoded in fields.items()})
    if isinstance(value, list):
        return [_to_struct(item, get_args(kind)[0]) for item in value]
    return msgspec.convert(value, kind, strict=False)
