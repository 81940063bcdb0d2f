"""TLS: the certificate, its key and the CAs of clients, from files that may be replaced while the server runs."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from server.settings import Settings, SettingsError, describe_setting

REFRESH_INTERVAL_S = 2.0

_logger = logging.getLogger(__name__)

FilesState: TypeAlias = list[tuple[int, int, int] | None]


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What the files held, in PEM; the key is the one of the certificate that comes first in the chain."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    valid_from: datetime
    valid_until: datetime
    contexts: Mapping[str, ssl.SSLContext] = field(compare=False)  # by ALPN protocol: "http/1.1", "h2" for gRPC


class TlsFiles:
    """The TLS files of a server, and what they held when they could last be used."""

    def __init__(self, settings: Settings, state: FilesState, material: TlsMaterial) -> None:
        """Take what was read of the files of `settings` when they were in `state`, or after that."""
        self.material = material
        self._settings = settings
        self._state = state

    def refresh(self) -> bool:
        """Read the files again if they changed, and return whether `material` is new.

        Raises SettingsError when they cannot be used: `material` stays, and they are read again the next time.
        """
        state = _state_of_files(self._settings)
        if state == self._state:
            return False
        material = read_tls(self._settings)
        if material is None:
            return False
        check_dates(self._settings, material)
        self._state = state
        is_new = material != self.material
        self.material = material
        return is_new

    async def follow(self, reload: asyncio.Event, protocol: str) -> None:
        """Keep `material` new, until cancelled: every two seconds, and whenever `reload` is set.

        The outcome of a replacement of files is logged; a warning is not repeated while its cause stays.
        """
        warning = ""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(reload.wait(), REFRESH_INTERVAL_S)
            reload.clear()
            latest = ""
            try:
                if self.refresh():
                    valid_until = f"{self.material.valid_until:%Y-%m-%d}"
                    _logger.info("new %s connections get the new certificate, valid until %s", protocol, valid_until)
            except SettingsError as error:
                latest = str(error)
            if latest and latest != warning:
                _logger.warning("new %s connections get the earlier certificate: %s", protocol, latest)
            warning = latest


def open_tls(settings: Settings) -> TlsFiles | None:
    """Return the TLS files of these settings, None without TLS. Raises SettingsError when they do not fit."""
    state = _state_of_files(settings)
    material = read_tls(settings)
    return TlsFiles(settings, state, material) if material is not None else None


def read_tls(settings: Settings) -> TlsMaterial | None:
    """Read the files, and check that they fit each other; return None without TLS.

    Raises SettingsError that names the setting, the file and what is wrong with it.
    """
    cert_path, key_path, ca_path = settings.tls_cert, settings.tls_key, settings.grpc_client_ca
    if cert_path is None:
        for name in ("tls_key", "grpc_client_ca"):
            if getattr(settings, name) is not None:
                raise SettingsError(f"{describe_setting(name)} needs {describe_setting('tls_cert')} beside it")
        return None
    if key_path is None:
        raise SettingsError(f"{describe_setting('tls_cert')} needs {describe_setting('tls_key')} beside it")
    # Only here: it imports much.
    from server.processes.certificates import fits, parse_certificates

    chain, key = _read("tls_cert", cert_path), _read("tls_key", key_path)
    with _named("tls_cert", cert_path):
        leaf = parse_certificates(chain)[0]
    with _named("tls_key", key_path):
        if not fits(leaf, key):
            raise ValueError(f"does not fit the certificate in {cert_path}: give the key it was made for")
    client_ca = _read("grpc_client_ca", ca_path) if ca_path is not None else None
    if ca_path is not None and client_ca is not None:
        with _named("grpc_client_ca", ca_path):
            parse_certificates(client_ca)
    contexts = {name: _create_context(cert_path, key_path, name) for name in ("http/1.1", "h2")}
    if client_ca is not None:
        contexts["h2"].verify_mode = ssl.CERT_REQUIRED
        contexts["h2"].load_verify_locations(cadata=client_ca.decode())
    return TlsMaterial(chain, key, client_ca, leaf.not_valid_before_utc, leaf.not_valid_after_utc, contexts)


def check_dates(settings: Settings, material: TlsMaterial) -> None:
    """Raise SettingsError when the certificate is not valid now."""
    now = datetime.now(UTC)
    assert settings.tls_cert is not None  # noqa: S101 - where the material came from
    if now > material.valid_until:
        raise _unusable("tls_cert", settings.tls_cert, f"expired on {material.valid_until:%Y-%m-%d}: renew it")
    if now < material.valid_from:
        raise _unusable(
            "tls_cert", settings.tls_cert, f"is valid from {material.valid_from:%Y-%m-%d} only: is the clock right?"
        )


def use_newest(files: TlsFiles, protocol: str, on_failure: Callable[[str], None]) -> ssl.SSLContext:
    """Return a context for an ALPN protocol, whose handshakes use what `files` hold at that time.

    `on_failure` is called with OpenSSL's reason when a handshake fails; a client that disconnects or stops
    responding is not a failure.
    """
    context = files.material.contexts[protocol]

    class Handshake(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):  # it goes on when more has come
                raise
            except ssl.SSLError as error:
                on_failure(_reason_of(error))
                raise

    def choose(handshake: ssl.SSLObject, name: str | None, initial: ssl.SSLContext) -> None:
        handshake.context = files.material.contexts[protocol]

    context.sslobject_class = Handshake
    # Called in every handshake, also of clients that name no server.
    context.sni_callback = choose
    return context


def _create_context(cert: Path, key: Path, protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        raise _unusable("tls_cert", cert, f"OpenSSL refuses: {_reason_of(error)}; have another one made") from error
    return context


def _reason_of(error: ssl.SSLError) -> str:
    return (error.reason or "unknown").lower().replace("_", " ")


def _state_of_files(settings: Settings) -> FilesState:
    """Return what changes when a file is replaced or written to."""
    states: FilesState = []
    for path in (settings.tls_cert, settings.tls_key, settings.grpc_client_ca):
        try:
            status = path.stat() if path is not None else None
        except OSError:
            status = None
        states.append((status.st_ino, status.st_size, status.st_mtime_ns) if status is not None else None)
    return states


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unusable(name, path, f"cannot be read: {error.strerror}") from error


@contextmanager
def _named(name: str, path: Path) -> Iterator[None]:
    """Name the setting and its file where a ValueError says what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise _unusable(name, path, str(error)) from error


def _unusable(name: str, path: Path, problem: str) -> SettingsError:
    return SettingsError(f"{describe_setting(name)} is {str(path)!r}, which {problem}")
