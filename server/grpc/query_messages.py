"""Translation between the messages of the query API and the service's terms."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from seestack.query.v1 import query_pb2
from server.contract.query_method import QueryMethod
from server.errors import MalformedRequestError
from server.query.answers import Answer, as_dict

QUERY_SERVICE: Final = query_pb2.DESCRIPTOR.services_by_name["QueryService"]

_MAX_INT64: Final = 2**63 - 1
REQUESTS: Final[Mapping[QueryMethod, type[Message]]] = {
    method: GetMessageClass(QUERY_SERVICE.methods_by_name[method].input_type) for method in QueryMethod
}
RESPONSES: Final[Mapping[QueryMethod, type[Message]]] = {
    method: GetMessageClass(QUERY_SERVICE.methods_by_name[method].output_type) for method in QueryMethod
}


def parameters_of(method: QueryMethod, data: bytes) -> list[tuple[str, str]]:
    """Return the fields of a request that are set, as text by their JSON names. Raises MalformedRequestError."""
    try:
        message = REQUESTS[method].FromString(data)
    except DecodeError as error:
        raise MalformedRequestError("The message is not a valid query") from error
    return [
        (field.json_name, _to_rfc3339(value) if isinstance(value, Timestamp) else str(value))
        for field, value in message.ListFields()
    ]


def encode_message(method: QueryMethod, answer: Answer) -> bytes:
    """Return the response that an answer is."""
    message = RESPONSES[method]()
    _fill(message, answer)
    return message.SerializeToString()


def encode_part(data: bytes) -> bytes:
    """Return the response that a part of a file is."""
    return query_pb2.ExportHttpRequestsResponse(data=data).SerializeToString()


def _fill(message: Message, answer: Answer) -> None:
    for name, value in as_dict(answer).items():
        match value:
            case None:
                pass
            case list():
                items = getattr(message, name)
                for item in value:
                    _fill(items.add(), item)
            case Answer():
                _fill(getattr(message, name), value)
            case datetime():
                getattr(message, name).FromDatetime(value)
            case int():
                # Sums of invented sizes may be larger than any integer of protobuf.
                setattr(message, name, min(value, _MAX_INT64))
            case _:
                setattr(message, name, value)


def _to_rfc3339(timestamp: Timestamp) -> str:
    """Return a timestamp as text; one out of range gives a text that is none."""
    try:
        return timestamp.ToJsonString()
    except ValueError:
        return "out of range"
