"""TLS on both ports: who is let in, what wrong files are told, and certificates that are replaced."""

import http.client
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from seestack.ingest.v1.ingest_pb2 import IngestHttpRequestsRequest
from seestack.ingest.v1.ingest_pb2_grpc import IngestServiceStub
from server.processes.tls import check_dates, open_tls
from server.settings import SettingsError, load_settings
from tests.batches import make_batch
from tests.certificates import DAY, Authority
from tests.cli.failing import fail_command
from tests.commands import complete_command
from tests.log_lines import log_lines
from tests.patience import PATIENCE_S
from tests.process.polling import kill, live_workers, wait_until
from tests.process.scraping import scrape
from tests.running_server import RunningServer, run_command, start_server

SETTINGS_EXIT_CODE = 2


@dataclass
class TlsServer:
    """A running server that speaks TLS and demands client certificates, and the files it was given."""

    running: RunningServer
    authority: Authority
    certificate: Path
    key: Path

    def context(self, maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> ssl.SSLContext:
        """Return what a client needs that trusts the authority."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.maximum_version = maximum
        return context

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Return a connection to the HTTP port."""
        plain = socket.create_connection(("127.0.0.1", self.running.http_port), timeout=PATIENCE_S)
        return (context or self.context()).wrap_socket(plain, server_hostname="127.0.0.1")

    def serials(self) -> tuple[str, str]:
        """Return the serial numbers of the certificates that new connections to HTTP and to gRPC get."""
        numbers = []
        for port, protocol in ((self.running.http_port, "http/1.1"), (self.running.grpc_port, "h2")):
            context = self.context(ssl.TLSVersion.TLSv1_2)
            context.set_alpn_protocols([protocol])
            context.load_cert_chain(*self.authority.issue("client"))
            plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
                numbers.append(str((wrapped.getpeercert() or {})["serialNumber"]))
        return numbers[0], numbers[1]

    def channel(self, own: tuple[Path, Path] | None = None) -> grpc.Channel:
        """Return a channel of a client that shows its own certificate, if it is given one."""
        chain, key = (path.read_bytes() for path in own) if own is not None else (None, None)
        trusted = self.authority.certificate.read_bytes()
        credentials = grpc.ssl_channel_credentials(trusted, key, chain)
        # Each is a connection of its own.
        options = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.secure_channel(f"127.0.0.1:{self.running.grpc_port}", credentials, options)

    def send(self, channel: grpc.Channel) -> int:
        """Send a batch over gRPC, and return how many rows were accepted. Raises grpc.RpcError."""
        request = ParseDict(make_batch(self.running.project_id), IngestHttpRequestsRequest())
        metadata = (("x-seestack-key", self.running.api_key),)
        return IngestServiceStub(channel).IngestHttpRequests(request, metadata=metadata, timeout=PATIENCE_S).accepted


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls_server(authority: Authority, database_url: str) -> Iterator[TlsServer]:
    certificate, key = authority.issue("server")
    flags = [
        "--tls-cert", str(certificate), "--tls-key", str(key),
        "--grpc-client-ca", str(authority.certificate),
    ]  # fmt: skip
    with start_server(database_url, *flags) as running:
        yield TlsServer(running, authority, certificate, key)
        log = running.log.read_text()
        assert "Traceback" not in log
        assert "ERROR" not in log


def test_both_ports_speak_tls_to_those_they_should(
    tls_server: TlsServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with socket.create_connection(("127.0.0.1", tls_server.running.http_port)) as silent:
        with socket.create_connection(("127.0.0.1", tls_server.running.http_port), timeout=PATIENCE_S) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert is_closed(plain)
        context = tls_server.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with tls_server.connect(context) as wrapped:
            assert (wrapped.version(), wrapped.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
            wrapped.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert wrapped.recv(4096).startswith(b"HTTP/1.1 200")
        # It has not begun its handshake, and held up nobody.
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.recv(1)

    stranger = Authority(tmp_path_factory.mktemp("stranger")).issue("client")
    for refused in (None, stranger):
        with tls_server.channel(refused) as channel, pytest.raises(grpc.RpcError) as failure:
            tls_server.send(channel)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    with tls_server.channel(tls_server.authority.issue("client")) as channel:
        assert tls_server.send(channel) == 1
    assert len(tls_server.running.rows()) == 1
    run_command(
        "sample", "--rows", "10", "--http-port", str(tls_server.running.http_port),
        "--ca-cert", str(tls_server.authority.certificate),
        "--project-id", tls_server.running.project_id, "--api-key", tls_server.running.api_key,
    )  # fmt: skip
    assert len(tls_server.running.rows()) == 11
    certificate, key = tls_server.authority.issue("client")
    over_grpc = (
        "sample", "--protocol", "grpc", "--rows", "10", "--target", f"127.0.0.1:{tls_server.running.grpc_port}",
        "--project-id", tls_server.running.project_id, "--api-key", tls_server.running.api_key,
    )  # fmt: skip
    trusting = ("--ca-cert", str(tls_server.authority.certificate))
    assert "--ca-cert" in complete_command(*over_grpc, timeout=PATIENCE_S).stderr
    assert "--client-cert" in complete_command(*over_grpc, *trusting, timeout=PATIENCE_S).stderr
    run_command(*over_grpc, *trusting, "--client-cert", str(certificate), "--client-key", str(key))
    assert len(tls_server.running.rows()) == 21


def test_a_new_certificate_is_taken_up_once_it_is_whole_and_connections_go_on(tls_server: TlsServer) -> None:
    before = tls_server.serials()
    kept = http.client.HTTPSConnection("127.0.0.1", tls_server.running.http_port, context=tls_server.context())
    kept.request("GET", "/healthz")
    assert kept.getresponse().read()
    connected = kept.sock
    with tls_server.channel(tls_server.authority.issue("client")) as channel:
        assert tls_server.send(channel) == 1
        certificate, key = tls_server.authority.issue("next")
        # As a tool does that writes one file after the other.
        shutil.copyfile(certificate, tls_server.certificate)
        wait_until(
            lambda: all(
                f"new {protocol} connections get the earlier certificate" in tls_server.running.log.read_text()
                for protocol in ("HTTP", "gRPC")
            ),
            "each worker warns",
        )
        assert tls_server.serials() == before
        key.replace(tls_server.key)
        wait_until(lambda: not set(tls_server.serials()) & set(before), "the new certificate is used")
        assert tls_server.send(channel) == 1
        kept.request("GET", "/healthz")
        assert kept.getresponse().status == 200
        assert kept.sock is connected
    kept.close()
    assert tls_server.running.log.read_text().count("get the earlier certificate") == 2


def test_handshakes_that_fail_leave_a_trace(tls_server: TlsServer) -> None:
    before = scrape(tls_server.running)
    with socket.create_connection(("127.0.0.1", tls_server.running.http_port), timeout=PATIENCE_S) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert is_closed(plain)
    with pytest.raises(ssl.SSLCertVerificationError):
        tls_server.connect(ssl.create_default_context())
    reasons = {"http request", "tlsv1 alert unknown ca"}
    wait_until(lambda: reasons <= failed_handshakes(tls_server.running), "both are logged")
    assert (scrape(tls_server.running) - before)["tls_handshake_failures_total http"] == 2


def test_hanging_up_ends_no_worker_even_while_it_starts(tls_server: TlsServer) -> None:
    server = tls_server.running
    kill(live_workers(server, "http_bridge"))

    def hang_up_until(request: "Future[bytes]") -> bool:
        server.process.send_signal(signal.SIGHUP)
        return request.done()

    with ThreadPoolExecutor() as executor:
        request = executor.submit(ask_health, tls_server)
        wait_until(lambda: hang_up_until(request), "the next worker serves")
    assert request.result().startswith(b"HTTP/1.1 200")
    assert scrape(server).get("worker_restarts_total", kind="http") == 1
    assert scrape(server).get("worker_restarts_total", kind="grpc") == 0
    assert "read the TLS files again" in server.log.read_text()


def ask_health(tls_server: TlsServer) -> bytes:
    """Return the answer of the HTTP port, whenever it comes."""
    plain = socket.create_connection(("127.0.0.1", tls_server.running.http_port), timeout=PATIENCE_S)
    with tls_server.context().wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
        wrapped.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return wrapped.recv(4096)


def failed_handshakes(server: RunningServer) -> set[str]:
    lines = log_lines(server.log.read_text())
    return {line["reason"] for line in lines if line["message"] == "TLS handshake failed"}


def is_closed(connection: socket.socket) -> bool:
    """Wait for the other side, and tell whether it closed the connection without an answer in plain text."""
    try:
        return not connection.recv(4096).startswith(b"HTTP")
    except ConnectionResetError:
        return True


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_files_that_do_not_fit_are_explained(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("server")
    _, other_key = authority.issue("other")
    expired, expired_key = authority.issue("expired", valid_until=datetime.now(UTC) - DAY / 2)
    _, secret_key = authority.issue("secret", passphrase=b"secret")
    rubbish, missing = write(tmp_path / "rubbish", "rubbish"), tmp_path / "missing"
    cases: list[tuple[dict[str, Path], str, str]] = [
        ({"tls_cert": certificate}, "SEESTACK_TLS_CERT (--tls-cert)", "needs SEESTACK_TLS_KEY"),
        ({"tls_key": key}, "SEESTACK_TLS_KEY (--tls-key)", "needs SEESTACK_TLS_CERT"),
        ({"grpc_client_ca": certificate}, "SEESTACK_GRPC_CLIENT_CA", "needs SEESTACK_TLS_CERT"),
        ({"tls_cert": missing, "tls_key": key}, f"'{missing}'", "No such file"),
        ({"tls_cert": certificate, "tls_key": tmp_path}, f"'{tmp_path}'", "cannot be read"),
        ({"tls_cert": rubbish, "tls_key": key}, f"'{rubbish}'", "holds no certificate"),
        ({"tls_cert": certificate, "tls_key": rubbish}, f"'{rubbish}'", "holds no key"),
        ({"tls_cert": certificate, "tls_key": other_key}, f"'{other_key}'", "does not fit"),
        ({"tls_cert": certificate, "tls_key": secret_key}, f"'{secret_key}'", "is encrypted"),
        ({"tls_cert": expired, "tls_key": expired_key}, f"'{expired}'", "expired on"),
        ({"tls_cert": certificate, "tls_key": key, "grpc_client_ca": rubbish}, f"'{rubbish}'", "holds no certificate"),
    ]
    for paths, where, what in cases:
        settings = load_settings(**paths)
        with pytest.raises(SettingsError) as raised:  # noqa: PT012 - the dates are looked at in a second step
            files = open_tls(settings)
            assert files is not None
            check_dates(settings, files.material)
        message = str(raised.value)
        assert where in message
        assert what in message
        assert len(message.splitlines()) == 1


def test_a_server_does_not_start_with_files_that_do_not_fit(authority: Authority) -> None:
    certificate, _ = authority.issue("server", valid_until=datetime.now(UTC) - DAY / 2)
    flags = ("--tls-cert", str(certificate), "--tls-key", str(certificate.with_suffix(".key")))
    failure = fail_command("serve", "--http-port", "0", "--grpc-port", "0", *flags)
    assert failure.exit_code == SETTINGS_EXIT_CODE
    assert "expired on" in failure.line


def test_plain_text_that_others_can_read_is_warned_of(database_url: str) -> None:
    with start_server(database_url, "--grpc-host", "0.0.0.0") as server:
        lines = log_lines(server.log.read_text())
    warning = next(line["message"] for line in lines if line["level"] == "warning")
    assert f"0.0.0.0:{server.grpc_port}" in warning
    assert f":{server.http_port}" not in warning
    assert "SEESTACK_TLS_CERT" in warning
