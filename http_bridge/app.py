"""The Flask application: one view for batches, a few pages for people and probes, one envelope for every failure."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from flask import Flask, Request, Response, jsonify, request
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import MapAdapter

from http_bridge import responses
from http_bridge.cors import Cors
from http_bridge.http1.environ import Environ, find_header
from http_bridge.http1.greenlets import wait
from http_bridge.json_body import decode_batch, drain_body, read_body
from http_bridge.openapi import describe_api
from http_bridge.rate_limit_headers import USAGE, rate_limit_headers
from server.access.api_key_header import find_raw_key
from server.contract.idempotency import IDEMPOTENCY_HEADER, claim_of
from server.contract.identifiers import REQUEST_ID_HEADER, choose_request_id
from server.errors import (
    IngestError,
    MalformedRequestError,
    MethodNotAllowedError,
    PathNotFoundError,
    ServiceUnavailableError,
)
from server.failures import explain
from server.observability.metrics import Protocol
from server.observability.request_report import RequestRecord, RequestReporter
from server.service import IngestService
from server.settings import Settings

INGEST_PATH = "/ingest/v1/http-requests"
READINESS_PATH = "/readyz"
# Where the WSGI environment keeps the record of a request.
_RECORD = "seestack.record"


class _App(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return `func` as it is: no view is a coroutine, which Flask looks for at every call."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what finds the view of a request by its path, whatever its Host header names."""
        if request is None:
            return super().create_url_adapter(request)
        if request.environ["PATH_INFO"].startswith("//"):
            raise NotFound  # Werkzeug would take it for the path with one slash
        return self.url_map.bind("", path_info=request.path, default_method=request.method)

    def wsgi_app(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Begin the record of a request, and answer it."""
        target = {"method": environ["REQUEST_METHOD"], "path": environ["PATH_INFO"]}
        request_id = responses.request_id_of(environ)
        environ[_RECORD] = RequestRecord(Protocol.HTTP, request_id, target)
        return super().wsgi_app(environ, start_response)


def create_app(service: IngestService, settings: Settings) -> Flask:
    """Return the WSGI application in front of `service`, to be run by `run_synchronous`."""
    app = _App(__name__, static_folder=None)
    # Slashes are part of a path here: no redirects, which are no envelope either.
    app.url_map.merge_slashes = False
    cors = Cors(settings.cors_origins)
    _add_ingest(app, service, cors)
    _add_pages(app, service, settings)
    _add_errors(app, service)

    @app.after_request
    def finish(response: Response) -> Response:
        environ = request.environ
        response.headers.add(REQUEST_ID_HEADER, responses.request_id())
        usage = environ.get(USAGE)
        if usage is not None:
            response.headers.update(rate_limit_headers(usage))
        if environ["PATH_INFO"].startswith("/ingest/"):
            cors.mark(environ, response)
        return response

    return app


def create_refusal(reporter: RequestReporter) -> Callable[[IngestError], bytes]:
    """Return the function that answers, and reports, what is no HTTP."""

    def refuse(error: IngestError) -> bytes:
        record = RequestRecord(Protocol.HTTP, choose_request_id(None), {})
        reporter.report_refused(record, error)
        return responses.refusal(error, record.request_id)

    return refuse


def _add_ingest(app: Flask, service: IngestService, cors: Cors) -> None:
    @app.post(INGEST_PATH, provide_automatic_options=False)
    def ingest() -> Response:
        environ = request.environ
        raw_key = find_raw_key(partial(find_header, environ), lenient=service.lenient)
        key = wait(service.authenticate(raw_key))
        record: RequestRecord = environ[_RECORD]
        record.project_id = key.project_id
        usage = environ[USAGE] = service.usage_of(key)
        if usage is not None:
            usage.take_request()
        body = read_body(environ, service)
        claim = claim_of(key.project_id, find_header(environ, IDEMPOTENCY_HEADER), body)
        rows = wait(service.submit(key, decode_batch(body), usage, claim).stored())
        service.reporter.report_accepted(record, rows)
        return responses.accepted(rows)

    @app.route(INGEST_PATH, methods=["OPTIONS"], provide_automatic_options=False)
    def preflight() -> Response:
        return cors.preflight()


def _add_pages(app: Flask, service: IngestService, settings: Settings) -> None:
    document = describe_api(settings)

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @app.get(READINESS_PATH)
    def readyz() -> Response:
        return jsonify(responses.readiness(wait(service.check_ready())))

    @app.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document)

    # Without validatorUrl, the page would ask a service on the internet whether the document is valid.
    page = {"app_name": "seestack-ingest", "validatorUrl": None}
    blueprint = get_swaggerui_blueprint("/docs", "/openapi.json", config=page)

    @app.get("/docs")
    def docs() -> Response:
        return app.make_response(app.ensure_sync(app.view_functions[f"{blueprint.name}.show"])())

    app.register_blueprint(blueprint)


def _add_errors(app: Flask, service: IngestService) -> None:
    @app.errorhandler(Exception)
    def refuse(error: Exception) -> Response:
        environ = request.environ
        failure = _as_ingest_error(error)
        wait(service.hold_back(failure))
        drain_body(environ, service)
        # A probe that asks every second is told what the log says once.
        if not (environ["PATH_INFO"] == READINESS_PATH and isinstance(failure, ServiceUnavailableError)):
            service.reporter.report_refused(environ[_RECORD], failure)
        return responses.failure(failure)


def _as_ingest_error(error: Exception) -> IngestError:
    match error:
        case NotFound():
            return PathNotFoundError()
        case MethodNotAllowed():
            return MethodNotAllowedError(", ".join(sorted(error.valid_methods or ())))
        case HTTPException() if (error.code or 500) < 500:
            return MalformedRequestError()
    return explain(error)
