"""What certificates and private keys in PEM hold. It imports much, which a server without TLS goes without."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key


def parse_certificates(data: bytes) -> list[x509.Certificate]:
    """Return all certificates, at least one. Raises ValueError, whose message goes on after "a file, which"."""
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise ValueError("holds no certificate: a PEM file with BEGIN CERTIFICATE is needed") from error


def fits(certificate: x509.Certificate, key: bytes) -> bool:
    """Tell whether a private key is the one of a certificate. Raises ValueError, as above."""
    try:
        own = load_pem_private_key(key, password=None).public_key()
    except TypeError as error:
        raise ValueError("is encrypted: store the key without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("holds no key: a PEM file with BEGIN PRIVATE KEY is needed") from error
    return _encode(own) == _encode(certificate.public_key())


def _encode(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
