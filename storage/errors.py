"""Errors of the storage, by what callers do about them."""


class StorageError(Exception):
    """Base of the errors that this package raises."""


class StorageUnavailableError(StorageError):
    """The database cannot be reached or cannot write now; the same call may succeed later."""


class QueryTooLongError(StorageError):
    """The database could not answer within the time limit; it may for fewer rows."""


class WriterOverloadedError(StorageError):
    """The write queue is full; nothing of the batch was taken."""


class SpoolError(StorageUnavailableError):
    """The spool on the local disk cannot be used."""


class SpoolFullError(SpoolError):
    """The spool has reached its limit; nothing was added to it."""


class SpoolOwnerError(StorageError):
    """The spool belongs to another database; nothing of it was stored in this one."""


class BatchRefusedError(StorageError):
    """Postgres refused the values of this batch; sending it again will not help."""


class IdempotencyKeyReusedError(StorageError):
    """The batch's idempotency key belongs to another batch; nothing of this one is stored."""


class UnsupportedDatabaseError(StorageError):
    """The database is of a kind or version that this program cannot work with."""


class SchemaError(StorageError):
    """The database's schema, or what this role may do with it, is not what is needed."""


class EmbeddedServerError(StorageError):
    """The embedded Postgres could not be set up or started."""


class NoDatabaseError(EmbeddedServerError):
    """The data folder has no database yet, and the caller must not make one."""


class BackupError(StorageError):
    """A backup could not be written, read or restored."""


class NotFoundError(StorageError):
    """There is no row of that name or id."""


class KeyRevokedError(StorageError):
    """The key was revoked, and a revoked key gets no successor."""


class AlreadyExistsError(StorageError):
    """There is a row of that name already."""
