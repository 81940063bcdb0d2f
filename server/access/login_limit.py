"""How many keys may be tried at the login page from one address, over all workers."""

from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from uuid import UUID

from server.access.token_buckets import Bucket, Buckets
from server.errors import RateLimitedError
from storage.keys.limits import RateLimit

LIMIT = RateLimit(per_second=1.0, burst=20)
# Addresses share so many buckets, so that any number of them takes no more memory.
BUCKETS = 1024

_PREFIX_BITS = 64  # of an IPv6 address, which one client can have all of
_SECOND_NS = 1_000_000_000


def take_login(buckets: Buckets, address: str) -> None:
    """Count a try from an address. Raises RateLimitedError when there were too many."""
    taking = buckets.take(bucket_of(address), Bucket.REQUESTS, LIMIT, 1, has_share=False)
    if taking.delay_ns:
        raise RateLimitedError("too many keys were tried; wait a little", taking.delay_ns / _SECOND_NS)


def bucket_of(address: str) -> UUID:
    """Return the id of the bucket of an address, which no key has but by a chance of 1 to 2 ** 112."""
    try:
        parsed = ip_address(address)
        network = str(ip_network((parsed, _PREFIX_BITS), strict=False)) if isinstance(parsed, IPv6Address) else address
    except ValueError:
        network = address
    number = int.from_bytes(sha256(network.encode()).digest()[:4]) % BUCKETS
    return UUID(bytes=sha256(f"login {number}".encode()).digest()[:16])
