"""An authority, certificates of it, and a real broker that trusts nobody without one (or without a password)."""

import contextlib
import dataclasses
import datetime as dt
import ipaddress
import pathlib
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stack import kafka as embedded_kafka
from stack.jars import cache_dir
from stack.ports import free_port
from stack.programs import running
from streams.settings import Settings

KEY_PASSWORD = "canary-key-password"
SASL_PASSWORD = "canary-sasl-password"
USER = "trader"
SECURED = """\
listeners=SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{sasl}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
inter.broker.listener.name=SSL
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl_ssl.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={modules}.scram.ScramLoginModule required;
"""


@dataclasses.dataclass(frozen=True)
class Authority:
    """Sign certificates, and keep them and their keys as PEM files in one folder."""

    folder: pathlib.Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def cafile(self) -> pathlib.Path:
        """Return the file with the authority's own certificate."""
        return self.folder / f"{self.name}.pem"

    def issue(self, name: str, *, password: str = "") -> tuple[pathlib.Path, pathlib.Path]:
        """Return the files of a certificate for 127.0.0.1 and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _signed(name, key, self.key, issuer=self.certificate.subject, is_authority=False)
        return _write(self.folder / f"{name}.pem", certificate), _write_key(self.folder / f"{name}.key", key, password)


@dataclasses.dataclass(frozen=True)
class SecuredBroker:
    """Where a broker listens: with our certificate at `tls`, with a name and a password at `sasl`."""

    authority: Authority
    tls: str
    sasl: str

    def by_certificate(self) -> dict[str, str]:
        """Return the environment of a stack that shows a certificate, whose key has a password."""
        certfile, keyfile = self.authority.issue("client", password=KEY_PASSWORD)
        return {
            "STONKS_KAFKA": self.tls,
            "STONKS_KAFKA_SECURITY_PROTOCOL": "SSL",
            "STONKS_KAFKA_SSL_CAFILE": str(self.authority.cafile),
            "STONKS_KAFKA_SSL_CERTFILE": str(certfile),
            "STONKS_KAFKA_SSL_KEYFILE": str(keyfile),
            "STONKS_KAFKA_SSL_KEY_PASSWORD": KEY_PASSWORD,
        }

    def by_password(self, mechanism: str, password: str = SASL_PASSWORD) -> dict[str, str]:
        """Return the environment of a stack that shows a password."""
        return {
            "STONKS_KAFKA": self.sasl,
            "STONKS_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "STONKS_KAFKA_SASL_MECHANISM": mechanism,
            "STONKS_KAFKA_SASL_USERNAME": USER,
            "STONKS_KAFKA_SASL_PASSWORD": password,
            "STONKS_KAFKA_SSL_CAFILE": str(self.authority.cafile),
        }


def authority(folder: pathlib.Path, name: str) -> Authority:
    """Make an authority that nobody else knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(name, key, key, issuer=_named(name), is_authority=True)
    made = Authority(folder, name, key, certificate)
    _write(made.cafile, certificate)
    return made


def settings_of(variables: dict[str, str]) -> Settings:
    """Return the settings that a process with these variables has."""
    return Settings(**{name.removeprefix("STONKS_").lower(): value for name, value in variables.items()})  # type: ignore[arg-type]


@contextlib.contextmanager
def secured_broker(folder: pathlib.Path) -> Iterator[SecuredBroker]:
    """Start our embedded broker with TLS and SASL in place of its plain listener."""
    signer = authority(folder, "authority")
    certfile, keyfile = signer.issue("broker")
    keystore = folder / "keystore.pem"
    keystore.write_bytes(keyfile.read_bytes() + certfile.read_bytes())
    tls, sasl, controller = free_port(), free_port(), free_port()
    program = embedded_kafka.prepare(
        folder / "kafka", port=tls, controller_port=controller, cache=cache_dir(Settings())
    )
    config = folder / "kafka" / "server.properties"
    plain = [line for line in config.read_text().splitlines() if not line.startswith(("listeners=", "advertised."))]
    secured = SECURED.format(
        tls=tls,
        sasl=sasl,
        controller=controller,
        keystore=keystore,
        ca=signer.cafile,
        modules="org.apache.kafka.common.security",
        user=USER,
        password=SASL_PASSWORD,
    )
    config.write_text("\n".join(plain) + "\n" + secured)
    broker = SecuredBroker(signer, f"127.0.0.1:{tls}", f"127.0.0.1:{sasl}")
    reached = settings_of(broker.by_certificate())
    with running(program, lambda _: embedded_kafka.is_ready(broker.tls, reached)):
        yield broker


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    issuer: x509.Name,
    is_authority: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(loopback, critical=False)
    )
    return builder.sign(signer, hashes.SHA256())


def _write(path: pathlib.Path, certificate: x509.Certificate) -> pathlib.Path:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def _write_key(path: pathlib.Path, key: ec.EllipticCurvePrivateKey, password: str) -> pathlib.Path:
    sealed = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=sealed)
    )
    return path
