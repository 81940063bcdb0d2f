"""Errors of the HTTP framework, as errors of the service."""

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from server.errors import MalformedRequestError, MethodNotAllowedError, PathNotFoundError


def as_ingest_error(error: Exception) -> Exception:
    """Return the IngestError that an error of Flask or Werkzeug stands for; other errors as they are."""
    match error:
        case NotFound():
            return PathNotFoundError()
        case MethodNotAllowed():
            return MethodNotAllowedError(", ".join(sorted(error.valid_methods or ())))
        case HTTPException() if (error.code or 500) < 500:
            return MalformedRequestError()
    return error
