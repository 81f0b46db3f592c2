"""An authority of the test's own, and receivers that show its certificates."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.receiver import Receiver

DAY = timedelta(days=1)


class Authority:
    """Issues certificates into `folder`, each a PEM file with its key."""

    def __init__(self, folder: Path, name: str = "Authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.pem = folder / f"{name}.pem"
        self.pem.write_bytes(self._sign(self._name, self._key, DAY, x509.BasicConstraints(True, 0)))

    def issue(self, *names: str, valid_for: timedelta = DAY) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_named(names[0]), key, valid_for, x509.SubjectAlternativeName(map(_san, names)))
        pem = self._folder / f"{names[0]}.{valid_for.days}.pem"
        pem.write_bytes(certificate + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pem

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, valid_for: timedelta, extension) -> bytes:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * DAY)
            .not_valid_after(now + valid_for)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, SHA256())
            .public_bytes(Encoding.PEM)
        )


def tls_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class TLSReceiver(Receiver):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.port}"


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
