"""`seestack-ingest serve`."""

import logging
import shlex
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from server.access.credentials import credentials_path, read_credentials
from server.access.login_links import make_link
from server.cli.addresses import http_url
from server.cli.options import explains_errors, with_settings
from server.database.first_key import is_valid_key
from server.observability.log import configure_logging
from server.processes.listeners import reachable
from server.processes.main_process import run_server
from server.processes.metrics_endpoint import METRICS_PATH
from server.settings import Pages, Settings

_logger = logging.getLogger(__name__)

_BANNER = """
seestack-ingest serves
{pages}\
  HTTP     {http_url}  (documentation: {http_url}/docs)
  gRPC     {grpc_target}
  metrics  {metrics_url}
"""
_PAGES = """\
  pages    {link}
           (logs in once, within an hour; `{command}` makes another)
"""
_CREDENTIALS = """\
  key      {file}

Send a batch, by HTTP and by gRPC, then look at the rows:

  KEY=$(sed -n 's/.*"apiKey": "\\(.*\\)".*/\\1/p' {quoted_file})
  BATCH='{batch}'
  curl {curl_flags}{http_url}/ingest/v1/http-requests -H "X-SeeStack-Key: $KEY" \
-H 'Content-Type: application/json' -d "$BATCH"
  grpcurl {grpcurl_flags}-H "x-seestack-key: $KEY" -d "$BATCH" {grpc_target} \
seestack.ingest.v1.IngestService/IngestHttpRequests
  {psql} -c "SELECT timestamp, method, host, path, status_code FROM http_requests \
WHERE project_id = '{project_id}' AND timestamp > now() - interval '1 day' ORDER BY timestamp DESC LIMIT 20"
"""
_NO_CREDENTIALS = """\

A client needs a project and a key:

  {create_project}
  {create_key}
"""
_INVALID_CREDENTIALS = """\

The key in {file} is no longer valid. Remove the file, and make another key:

  {create_key}
"""


@click.command()
@with_settings()
@explains_errors
def serve(settings: Settings) -> None:
    """Run the server until Ctrl-C.

    Without any setting it keeps its data in an embedded Postgres, makes a first project and key, and listens on
    127.0.0.1: HTTP on port 8080, gRPC on port 50051, metrics on port 9464.
    """
    configure_logging(settings.log_level)
    # The embedded server's URL is not a setting that the user made: the banner must not show it as one.
    is_embedded = settings.database_url is None

    def announce(effective: Settings) -> None:
        # For people only: elsewhere it might end up between the JSON lines of the log, which says the addresses, too.
        if sys.stdout.isatty():
            click.echo(_banner(effective, is_embedded=is_embedded))

    run_server(settings, announce)


def _banner(settings: Settings, *, is_embedded: bool) -> str:
    file = credentials_path(settings.data_dir)
    credentials = read_credentials(settings.data_dir) if is_embedded else None
    if credentials is None or credentials.api_key is None:
        next_steps = _NO_CREDENTIALS
    elif settings.database_url is None or is_valid_key(settings.database_url.get_secret_value(), credentials.api_key):
        next_steps = _CREDENTIALS
    else:
        next_steps = _INVALID_CREDENTIALS
    curl_flags, grpcurl_flags = _tls_words(settings)
    return (_BANNER + next_steps).format(
        pages=_describe_pages(settings),
        http_url=http_url(settings),
        grpc_target=reachable(settings.grpc_host, settings.grpc_port),
        curl_flags=curl_flags,
        grpcurl_flags=grpcurl_flags,
        metrics_url=f"http://{reachable(settings.metrics_host, settings.metrics_port)}{METRICS_PATH}",
        file=file,
        quoted_file=shlex.quote(str(file)),
        project_id=credentials.project_id if credentials else "",
        batch=_example_batch(credentials.project_id) if credentials else "",
        psql=_own_command(settings, "psql"),
        create_project=_own_command(settings, "projects", "create", "NAME"),
        create_key=_own_command(settings, "keys", "create", "--project", "NAME"),
    )


def _describe_pages(settings: Settings) -> str:
    """Return the lines about the pages, with a link that logs in; nothing when the server has none."""
    if settings.pages is Pages.OFF or settings.query_workers == 0:
        return ""
    try:
        link = make_link(settings.data_dir, http_url(settings))
    except OSError as error:
        _logger.warning("no link to the pages could be made: %s: %s", error.filename, error.strerror)
        return ""
    return _PAGES.format(link=link, command=_own_command(settings, "pages", "link"))


def _tls_words(settings: Settings) -> tuple[str, str]:
    """Return the flags with which curl and grpcurl trust the server; each ends with a blank."""
    if settings.tls_cert is None:
        return "", "-plaintext "
    certificate = shlex.quote(str(settings.tls_cert))
    own = "-cert CLIENT.pem -key CLIENT.key " if settings.grpc_client_ca is not None else ""
    return f"--cacert {certificate} ", f"-cacert {certificate} {own}"


def _example_batch(project_id: str) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f'{{"projectId":"{project_id}","requests":[{{"traceId":"trace-001","direction":"outbound","method":"GET",'
        f'"host":"api.example.com","path":"/v1/orders","statusCode":200,"durationMs":42,"requestSize":0,'
        f'"responseSize":512,"timestamp":"{now}"}}]}}'
    )


def _own_command(settings: Settings, *subcommand: str) -> str:
    """Return a line that runs another command of this program on the same data, ready to paste."""
    program = Path(sys.argv[0])
    is_on_path = shutil.which(program.name) == str(program)
    words = [program.name if is_on_path else str(program), *subcommand]
    if settings.data_dir != Settings().data_dir:
        words += ["--data-dir", str(settings.data_dir)]
    return shlex.join(words)
