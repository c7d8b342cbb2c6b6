"""Server credentials for TLS and mTLS, from files that may be replaced while the server runs.

gRPC asks for the certificate whenever somebody connects: connections that are there keep what they began with, and a
change that does not fit together (a new certificate beside the old key) waits until it does.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Certificates as gRPC takes them, and when the server's own is valid, in seconds since 1970."""

    certificates: Certificates
    not_before: float
    not_after: float


def _nobody(_: Callable[[], tuple[float, float]]) -> None:
    """Watch nothing."""


def server_credentials(
    settings: TlsSettings, watch: Callable[[Callable[[], tuple[float, float]]], None] = _nobody
) -> grpc.ServerCredentials | None:
    """Make credentials by the settings; None for plain text. Raises FileRejected where a file cannot be used.

    `watch` is given what tells from when to when the server's certificate is valid, in seconds since 1970.
    """
    if settings.certificate is None or settings.key is None:
        return None
    files = [settings.certificate, settings.key, *([settings.client_ca] if settings.client_ca else [])]
    certificates = Watched(_certificates, *files)

    def validity() -> tuple[float, float]:
        loaded = certificates.get()
        return loaded.not_before, loaded.not_after

    watch(validity)
    return grpc.dynamic_ssl_server_credentials(
        certificates.get().certificates,
        _when_changed(certificates),  # type: ignore[arg-type] # the stubs do not know None, for "as they are"
        require_client_authentication=settings.client_ca is not None,
    )


def _certificates(chain: bytes, key: bytes, client_ca: bytes | None = None) -> Loaded:
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
    return Loaded(
        certificates=grpc.ssl_server_certificate_configuration([(key, chain)], client_ca),
        not_before=leaf.not_valid_before_utc.timestamp(),
        not_after=leaf.not_valid_after_utc.timestamp(),
    )


def _when_changed(certificates: Watched[Loaded]) -> Fetch:
    """What gRPC asks at each connection: the certificates if they are new, None for those it has."""
    known: Loaded | None = None

    def fetch() -> Certificates | None:
        nonlocal known
        newest = certificates.get()
        if newest is known:
            return None
        known = newest
        return newest.certificates

    return fetch
