"""The Flask application: one view for batches, a few pages for people and probes, one envelope for every failure."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Request, Response, g, jsonify, request
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.exceptions import NotFound
from werkzeug.routing import MapAdapter

from http_bridge import responses
from http_bridge.answering import Answering
from http_bridge.cors import Cors
from http_bridge.http1.environ import Environ
from http_bridge.http1.greenlets import wait
from http_bridge.http_errors import as_ingest_error
from http_bridge.http_request import HttpRequest
from http_bridge.openapi import describe_api
from http_bridge.pages.blueprint import create_pages
from http_bridge.pages.safety import answer_missing
from http_bridge.query_routes import add_query_routes
from server.contract.identifiers import choose_request_id
from server.errors import IngestError
from server.observability.metrics import Protocol
from server.observability.request_report import RequestRecord, RequestReporter
from server.query.relay.client import QueryRelay
from server.service import IngestService
from server.settings import Pages, Settings

INGEST_PATH = "/ingest/v1/http-requests"


class _App(Flask):
    def __init__(self, service: IngestService, answering: Answering) -> None:
        super().__init__(__name__, static_folder=None)
        # Slashes are part of a path here; a redirect would not be the error envelope either.
        self.url_map.merge_slashes = False
        self._service = service
        self._answering = answering
        # It has no view, and is there for the other methods' 405.
        self.add_url_rule(INGEST_PATH, methods=["POST"], endpoint="ingest", provide_automatic_options=False)

    def wsgi_app(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request (PEP 3333).

        All load comes to one path. Flask's routing, contexts and response objects would be a third of what a small
        batch costs there, so it goes without them.
        """
        if environ["PATH_INFO"] != INGEST_PATH or environ["REQUEST_METHOD"] != "POST":
            return super().wsgi_app(environ, start_response)
        answered = HttpRequest(environ)
        outcome = wait(self._service.ingest(answered))
        if isinstance(outcome, IngestError):
            answer = self._answering.refuse(answered, outcome)
        else:
            answer = responses.accepted(outcome)
        start_response(answer.status, [*answer.headers.items(), *self._answering.headers(answered)])
        return (answer.body,)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return `func` as it is: no view is a coroutine, which Flask looks for at every call."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return the adapter that finds a request's view by its path alone, whatever its Host header is."""
        if request is None:
            return super().create_url_adapter(request)
        if request.environ["PATH_INFO"].startswith("//"):
            raise NotFound  # Werkzeug would take it for the path with one slash
        return self.url_map.bind("", path_info=request.path, default_method=request.method)


def create_app(service: IngestService, settings: Settings, relay: QueryRelay | None = None) -> Flask:
    """Return the WSGI application in front of `service`, to be run by `run_synchronous`; `relay` takes its queries."""
    cors = Cors(settings.cors_origins)
    answering = Answering(cors, settings.max_body_bytes)
    app = _App(service, answering)
    _add_preflight(app, cors)
    if relay is not None:
        add_query_routes(app, relay)
    _add_pages(app, service, settings)
    has_pages = relay is not None and settings.pages is Pages.ON
    _add_errors(app, service, answering, answer_missing if has_pages else lambda _: None)

    @app.before_request
    def begin() -> None:
        g.request = HttpRequest(request.environ)

    @app.after_request
    def finish(response: Response) -> Response:
        for name, value in g.get("reply_headers", {}).items():
            response.headers.setdefault(name, value)
        response.headers.extend(answering.headers(g.request))
        return response

    if relay is not None and has_pages:
        app.register_blueprint(create_pages(settings, relay))
    return app


def create_refusal(reporter: RequestReporter) -> Callable[[IngestError], bytes]:
    """Return the function that answers, and reports, what is not valid HTTP."""

    def refuse(error: IngestError) -> bytes:
        record = RequestRecord(Protocol.HTTP, choose_request_id(None), {})
        reporter.report_refused(record, error)
        return responses.refusal(error, record.request_id)

    return refuse


def _add_preflight(app: Flask, cors: Cors) -> None:
    @app.route(INGEST_PATH, methods=["OPTIONS"], provide_automatic_options=False)
    def preflight() -> Response:
        return cors.preflight()


def _add_pages(app: Flask, service: IngestService, settings: Settings) -> None:
    document = describe_api(settings)

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @app.get("/readyz")
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


def _add_errors(
    app: Flask, service: IngestService, answering: Answering, show: Callable[[Exception], Response | None]
) -> None:
    """Have errors answered: by the page that `show` gives, or else by the envelope."""

    @app.errorhandler(IngestError)
    def tell(error: IngestError) -> Response:
        """Answer a probe without a report: probes ask every second, and the log has said it once."""
        return respond(error)

    @app.errorhandler(Exception)
    def refuse(error: Exception) -> Response:
        """Answer what did not get to the service."""
        return show(error) or respond(wait(service.refuse(g.request.record, as_ingest_error(error))))

    def respond(error: IngestError) -> Response:
        status, headers, body = answering.refuse(g.request, error)
        return Response(body, status, headers)
