"""A query, as a protocol hands it to the service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.access.rate_limits import Usage
from server.access.sessions import Identity
from server.contract.query_method import QueryMethod
from server.observability.request_report import RequestRecord


@dataclass(slots=True)
class QueryRequest:
    """The caller's headers, and the means to read the parameters. The service decides when each is used."""

    method: QueryMethod
    record: RequestRecord
    # Looks the value of a header (HTTP) or of metadata (gRPC) up by its lower-case name; None without one.
    header: Callable[[str], str | None]
    # Gives the parameters as text, by the names that clients know. Raises MalformedRequestError.
    parameters: Callable[[], Sequence[tuple[str, str]]]
    # Who asks, for a query of a page: no key is looked for then.
    session: Identity | None = None
    # Whether an answer that others got just now will do.
    is_shared: bool = False
    # What the query takes from the limits of its key; None until the key is known, and for a key without limits.
    usage: Usage | None = None
