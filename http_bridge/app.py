"""The Flask application: one view for batches, a few pages for people and probes, one envelope for every failure."""

import logging

from flask import Flask, Response, jsonify, request
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from http_bridge import responses
from http_bridge.body import decode_batch, drain_body, read_body
from http_bridge.cors import Cors
from http_bridge.openapi import describe_api
from server.credentials import find_raw_key
from server.errors import IngestError, MalformedRequestError, MethodNotAllowedError, PathNotFoundError
from server.service import IngestService, as_ingest_error
from server.settings import Settings
from server.uuids import REQUEST_ID_HEADER
from storage.errors import StorageError

INGEST_PATH = "/ingest/v1/http-requests"

_logger = logging.getLogger(__name__)


def create_app(service: IngestService, settings: Settings) -> Flask:
    """Return the WSGI application in front of `service`."""
    app = Flask(__name__, static_folder=None)
    # Slashes are part of a path here: no redirects, which are no envelope either.
    app.url_map.merge_slashes = False
    cors = Cors(settings.cors_origins)
    _add_ingest(app, service, cors)
    _add_pages(app, service, settings)
    _add_errors(app, service)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = responses.request_id()
        if request.path.startswith("/ingest/"):
            cors.mark(request, response)
        return response

    return app


def _add_ingest(app: Flask, service: IngestService, cors: Cors) -> None:
    @app.post(INGEST_PATH, provide_automatic_options=False)
    def ingest() -> Response:
        key = service.authenticate(find_raw_key(request.headers.get, lenient=service.lenient))
        batch = decode_batch(read_body(request, service))
        return responses.accepted(service.submit(key, batch).result())

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
        service.check_ready()
        return jsonify(status="ready")

    @app.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document)

    app.register_blueprint(get_swaggerui_blueprint("/docs", "/openapi.json", config={"app_name": "seestack-ingest"}))


def _add_errors(app: Flask, service: IngestService) -> None:
    @app.errorhandler(Exception)
    def refuse(error: Exception) -> Response:
        drain_body(request, service)
        return responses.failure(_as_ingest_error(error))


def _as_ingest_error(error: Exception) -> IngestError:
    match error:
        case IngestError():
            return error
        case StorageError():
            return as_ingest_error(error)
        case NotFound():
            return PathNotFoundError()
        case MethodNotAllowed():
            return MethodNotAllowedError(", ".join(sorted(error.valid_methods or ())))
        case HTTPException() if (error.code or 500) < 500:
            return MalformedRequestError()
    _logger.error("request %s failed", responses.request_id(), exc_info=error)
    return IngestError()
