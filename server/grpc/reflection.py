"""gRPC server reflection, by which clients such as grpcurl and ghz learn the service without its .proto file."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.json_format import MessageToJson, Parse
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection_pb2 import (
    DESCRIPTOR,
    ErrorResponse,
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from server.errors import GrpcStatus, MalformedRequestError
from server.grpc.call import Handler, IncomingCall
from server.grpc.call_limit import CallLimit

# Both versions are the same, but for their names.
REFLECTION_SERVICE_NAMES: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

_METHOD = "ServerReflectionInfo"
_NOT_FOUND = ServerReflectionResponse(
    error_response=ErrorResponse(error_code=GrpcStatus.NOT_FOUND, error_message="not found")
)


class ReflectionService:
    """Tells clients of services, and of what they consist of."""

    def __init__(self, services: Iterable[str], limit: CallLimit) -> None:
        self._services = sorted(services)
        self._limit = limit
        self._pool: Any = descriptor_pool.Default()
        _add_version_1(self._pool)
        self._answers: Mapping[str, Callable[[Any], ServerReflectionResponse]] = {
            "file_by_filename": lambda name: _describe(self._pool.FindFileByName(name)),
            "file_containing_symbol": lambda name: _describe(self._find_file(name)),
            "file_containing_extension": lambda wanted: _describe(
                self._find_extension(wanted.containing_type, wanted.extension_number).file
            ),
            "all_extension_numbers_of_type": self._list_extensions,
            "list_services": self._list_services,
        }

    def methods(self) -> Mapping[str, Handler]:
        """Return the handlers by the names of their methods."""
        return {f"{name}/{_METHOD}": self._limit.bound(self._serve) for name in REFLECTION_SERVICE_NAMES}

    async def _serve(self, call: IncomingCall) -> None:
        while (message := await call.read()) is not None:
            try:
                request = ServerReflectionRequest.FromString(message)
            except DecodeError as error:
                raise MalformedRequestError("The message is not valid") from error
            await call.write(self._answer(request).SerializeToString())

    def _answer(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        wanted = request.WhichOneof("message_request")
        response = ServerReflectionResponse()
        try:
            if wanted is None:
                raise KeyError
            response.CopyFrom(self._answers[wanted](getattr(request, wanted)))
        except KeyError:
            response.CopyFrom(_NOT_FOUND)
        response.valid_host = request.host
        response.original_request.CopyFrom(request)
        return response

    def _find_file(self, symbol: str) -> FileDescriptor:
        """Return the file that defines a message, a service, or a method: some clients ask for one. Raises KeyError."""
        try:
            found: FileDescriptor = self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file
        return found

    def _find_extension(self, containing_type: str, number: int) -> Any:
        return self._pool.FindExtensionByNumber(self._pool.FindMessageTypeByName(containing_type), number)

    def _list_extensions(self, containing_type: str) -> ServerReflectionResponse:
        extensions = self._pool.FindAllExtensions(self._pool.FindMessageTypeByName(containing_type))
        response = ServerReflectionResponse()
        response.all_extension_numbers_response.base_type_name = containing_type
        response.all_extension_numbers_response.extension_number.extend(sorted(found.number for found in extensions))
        return response

    def _list_services(self, _: str) -> ServerReflectionResponse:
        response = ServerReflectionResponse()
        for name in self._services:
            response.list_services_response.service.add(name=name)
        return response


def _describe(file: FileDescriptor) -> ServerReflectionResponse:
    """Return a file and all those that it needs."""
    files: dict[str, FileDescriptor] = {}
    _collect(file, files)
    response = ServerReflectionResponse()
    response.file_descriptor_response.file_descriptor_proto.extend(map(_serialize, files.values()))
    return response


@cache
def _serialize(file: FileDescriptor) -> bytes:
    """Return a file with the names that its fields have in JSON: protoc leaves them out, and clients do not guess."""
    described = FileDescriptorProto()
    file.CopyToProto(described)
    for message in described.message_type:
        _name_fields(message, file.message_types_by_name[message.name])
    return described.SerializeToString()


def _name_fields(described: DescriptorProto, message: Descriptor) -> None:
    for field in described.field:
        field.json_name = message.fields_by_name[field.name].json_name
    for nested in described.nested_type:
        _name_fields(nested, message.nested_types_by_name[nested.name])


def _collect(file: FileDescriptor, files: dict[str, FileDescriptor]) -> None:
    if file.name not in files:
        files[file.name] = file
        for dependency in file.dependencies:
            _collect(dependency, files)


def _add_version_1(pool: Any) -> None:
    """Let `pool` know version 1, which the library lacks."""
    file = FileDescriptorProto()
    DESCRIPTOR.CopyToProto(file)
    pool.Add(Parse(MessageToJson(file).replace("v1alpha", "v1"), FileDescriptorProto()))
