"""The part of the OpenAPI document about queries, made from the tables that the server works by."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from http_bridge.query_files import FILES
from http_bridge.query_routes import PATHS
from server.contract.query_method import QueryMethod
from server.query.answers import Answer, Distribution, ItemPage, Stats, TimeSeries, TopEndpoints, TopHosts, Trace
from server.query.parameters import PARAMETERS, Parameter

Schema = dict[str, Any]

READING: Final = "Reading"  # under what the documentation page lists the paths

_SUMMARIES: Final[Mapping[QueryMethod, str]] = {
    QueryMethod.LIST: "List requests, newest first",
    QueryMethod.STATS: "Sum requests up",
    QueryMethod.TIME_SERIES: "Sum requests up by steps of time, empty ones included",
    QueryMethod.DISTRIBUTION: "Count requests by their duration",
    QueryMethod.TOP_HOSTS: "Sum requests up by host; those made, unless `direction` says otherwise",
    QueryMethod.TOP_ENDPOINTS: "Sum requests up by method, host and endpoint; those made, unless `direction` says "
    "otherwise",
    QueryMethod.TRACE: "Get the requests of a trace, oldest first, at most 1,000",
    QueryMethod.EXPORT: "Get all requests of the list as a file",
}
_ANSWERS: Final[Mapping[QueryMethod, type[Answer]]] = {
    QueryMethod.LIST: ItemPage,
    QueryMethod.STATS: Stats,
    QueryMethod.TIME_SERIES: TimeSeries,
    QueryMethod.DISTRIBUTION: Distribution,
    QueryMethod.TOP_HOSTS: TopHosts,
    QueryMethod.TOP_ENDPOINTS: TopEndpoints,
    QueryMethod.TRACE: Trace,
}
_REFERENCES, _COMPONENTS = msgspec.json.schema_components(_ANSWERS.values(), ref_template="#/components/schemas/{name}")
_DATA: Final = dict(zip(_ANSWERS, _REFERENCES, strict=True))
SECURITY_SCHEMES: Final[Schema] = {"BearerAuth": {"type": "http", "scheme": "bearer"}}


def describe_answers() -> Schema:
    """Return the schemas that the paths refer to."""
    return dict(_COMPONENTS)


def describe_paths(headers: Schema, errors: Schema) -> Schema:
    """Return the paths; `headers` are those of each answer, `errors` the responses of refusals."""
    return {path: {"get": _describe(method, headers, errors)} for method, path in PATHS.items()}


def _describe(method: QueryMethod, headers: Schema, errors: Schema) -> Schema:
    return {
        "operationId": method[0].lower() + method[1:],
        "tags": [READING],
        "summary": _SUMMARIES[method],
        "description": "A key to read is needed. Only rows of its project are read.",
        "security": [{"ApiKeyAuth": []}, *({name: []} for name in SECURITY_SCHEMES)],
        "parameters": [_describe_parameter(parameter) for parameter in PARAMETERS[method]],
        "responses": {
            "200": {"description": "The answer.", "headers": headers, "content": _describe_content(method)},
            **errors,
        },
    }


def _describe_parameter(parameter: Parameter) -> Schema:
    schema = dict(parameter.rule.schema)
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.json_name,
        "in": "query",
        "description": parameter.description,
        "required": parameter.is_required,
        "schema": schema,
    }


def _describe_content(method: QueryMethod) -> Schema:
    if method is QueryMethod.EXPORT:
        return {file.content_type.partition(";")[0]: {"schema": {"type": "string"}} for file in FILES.values()}
    envelope = {
        "type": "object",
        "properties": {
            "success": {"const": True},
            "data": _DATA[method],
            "meta": {"$ref": "#/components/schemas/Error/properties/meta"},
        },
        "required": ["success", "data", "meta"],
        "additionalProperties": False,
    }
    return {"application/json": {"schema": envelope}}
