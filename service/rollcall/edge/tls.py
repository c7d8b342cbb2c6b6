"""Server credentials for TLS and mTLS, from files that may be replaced while the server runs.

gRPC asks for the certificate whenever somebody connects: connections that are there keep what they began with, and a
change that does not fit together (a new certificate beside the old key) waits until it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from rollcall.edge.access.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollcall.settings import TlsSettings

    Certificates = grpc.ServerCertificateConfiguration
    Fetch = Callable[[], Certificates | None]


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials | None:
    """Make credentials by the settings; None for plain text. Raises FileRejected where a file cannot be used."""
    if settings.certificate is None or settings.key is None:
        return None
    files = [settings.certificate, settings.key, *([settings.client_ca] if settings.client_ca else [])]
    certificates = Watched(_certificates, *files)
    return grpc.dynamic_ssl_server_credentials(
        certificates.get(),
        _when_changed(certificates),  # type: ignore[arg-type] # the stubs do not know None, for "as they are"
        require_client_authentication=settings.client_ca is not None,
    )


def _certificates(chain: bytes, key: bytes, client_ca: bytes | None = None) -> Certificates:
    """Check that a chain, its key, and the roots of clients' certificates can be used. Raises ValueError."""
    try:
        leaf = load_pem_x509_certificates(chain)[0]
    except ValueError:
        message = "the certificate is no PEM certificate"
        raise ValueError(message) from None
    try:
        public = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError):
        message = "the key is no PEM private key without a password"
        raise ValueError(message) from None
    if leaf.public_key() != public:
        message = "the key does not belong to the certificate"
        raise ValueError(message)
    if client_ca is not None:
        try:
            load_pem_x509_certificates(client_ca)
        except ValueError:
            message = "client_ca holds no PEM certificates"
            raise ValueError(message) from None
    return grpc.ssl_server_certificate_configuration([(key, chain)], client_ca)


def _when_changed(certificates: Watched[Certificates]) -> Fetch:
    """What gRPC asks at each connection: the certificates if they are new, None for those it has."""
    known: Certificates | None = None

    def fetch() -> Certificates | None:
        nonlocal known
        newest = certificates.get()
        if newest is known:
            return None
        known = newest
        return newest

    return fetch
