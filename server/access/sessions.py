"""Sessions of the pages: who is logged in, in a signed cookie.

The cookie holds the digest of a read key, never the key. That the key is still valid is found by the query process at
each query, so that a session ends with its key. An administrator's session has no key, and ends with its lifetime.
"""

import hmac
import secrets
import time
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import msgspec
from itsdangerous import BadData, URLSafeSerializer

from server.access.page_files import PageFiles

LIFETIME_S = 12 * 3600
LONGEST_NAME = 100  # of a project; browsers drop cookies of more than 4 KB

_ENDED = "ended"


class Identity(msgspec.Struct, frozen=True):
    """Who asks, as a session says it. Workers alone make it: nothing that a client sends is read as one."""

    project_id: UUID | None  # None while an administrator has chosen none
    key_digest: bytes | None  # of the read key; None for an administrator

    @property
    def is_admin(self) -> bool:
        """Tell whether this is an administrator, who may read every project and change keys."""
        return self.key_digest is None


class Login(msgspec.Struct, frozen=True):
    """What a session's cookie holds."""

    session_id: str
    identity: Identity
    project_name: str
    began_at: float  # Unix time


class Sessions:
    """Makes and reads the cookies of a data folder's sessions; all processes that use the folder know them."""

    def __init__(self, data_dir: Path) -> None:
        """Use a data folder, whose secret is made when it is first needed."""
        self.files = PageFiles(data_dir)

    @property
    def cookie_name(self) -> str:
        """The cookie's name, which is another for each data folder: browsers keep cookies by host, not by port."""
        return f"seestack_{sha256(self.files.secret()).hexdigest()[:8]}"

    def begin(self, identity: Identity, project_name: str) -> str:
        """Return the cookie of a new session. Raises OSError."""
        return self.sign(Login(secrets.token_urlsafe(16), identity, project_name[:LONGEST_NAME], time.time()))

    def change(self, login: Login, identity: Identity, project_name: str) -> str:
        """Return the cookie of a session that goes on, and ends no later, with another project. Raises OSError."""
        name = project_name[:LONGEST_NAME]
        return self.sign(msgspec.structs.replace(login, identity=identity, project_name=name))

    def sign(self, login: Login) -> str:
        """Return the cookie of a session. Raises OSError."""
        return self._serializer().dumps(msgspec.to_builtins(login))

    def read(self, cookie: str) -> Login | None:
        """Return what a cookie says; None when it was not made here, is too old, or was ended. Raises OSError."""
        try:
            login = msgspec.convert(self._serializer().loads(cookie), Login)
        except (BadData, msgspec.ValidationError):
            return None
        if time.time() - login.began_at > LIFETIME_S:
            return None
        return None if self.files.has_mark(_ENDED, login.session_id, LIFETIME_S) else login

    def end(self, login: Login) -> None:
        """Have no process take a session's cookie any more. Raises OSError."""
        self.files.mark(_ENDED, login.session_id, LIFETIME_S)

    def csrf_token(self, of: str) -> str:
        """Return the token that forms of a session, or of a visitor, carry. Raises OSError."""
        return hmac.new(self.files.secret(), b"csrf " + of.encode(), sha256).hexdigest()

    def is_csrf_token(self, token: str, of: str) -> bool:
        """Tell whether a form was made for this session or visitor. Raises OSError."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.csrf_token(of).encode())

    def _serializer(self) -> URLSafeSerializer:
        signing = {"digest_method": sha256, "key_derivation": "hmac"}
        return URLSafeSerializer(self.files.secret(), salt="session", signer_kwargs=signing)
