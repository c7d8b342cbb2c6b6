"""An authority that signs certificates for tests, and writes them where a server or a client finds them."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)
LOOPBACK = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    @property
    def serial(self) -> int:
        """Serial number of the certificate."""
        return x509.load_pem_x509_certificate(self.certificate).serial_number

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write NAME.pem and NAME.key; return where they are."""
        files = directory / f"{name}.pem", directory / f"{name}.key"
        for file, content in zip(files, (self.certificate, self.key), strict=True):
            scratch = file.with_suffix(".tmp")
            scratch.write_bytes(content)
            scratch.replace(file)
        return files


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Signs with a key of its own."""

    name: str = "authority"
    key: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)

    def write(self, file: Path) -> Path:
        """Write its own certificate."""
        file.write_bytes(self._signed(self.name, self.key, (), authority=True).public_bytes(Encoding.PEM))
        return file

    def server(self, days: int = 1) -> Pair:
        """Sign a certificate for a server on the loopback."""
        return self._pair("server", LOOPBACK, days)

    def client(self, *names: x509.GeneralName) -> Pair:
        """Sign a client's certificate."""
        return self._pair("client", names)

    def _pair(self, common: str, names: tuple[x509.GeneralName, ...], days: int = 1) -> Pair:
        key = _new_key()
        certificate = self._signed(common, key, names, days, authority=False)
        return Pair(
            certificate=certificate.public_bytes(Encoding.PEM),
            key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )

    def _signed(
        self,
        common: str,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[x509.GeneralName, ...],
        days: int = 1,
        *,
        authority: bool,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common))
            .issuer_name(_name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, SHA256())
