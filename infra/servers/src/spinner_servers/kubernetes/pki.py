"""The cluster's certificate authority, the API server's certificates and the tokens of its users."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 3650


def write(folder: Path, address: str) -> None:
    """Makes ca, apiserver, kubelet-client (.crt, .key) and sa.key in `folder`, unless they are there."""
    if (folder / "sa.key").exists():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("spinner-test-ca", ca_key, None, ca_key, authority=True)
    _store(folder / "ca", ca, ca_key)
    names = [x509.IPAddress(ipaddress.ip_address(ip)) for ip in {"127.0.0.1", "10.96.0.1", address}]
    key = ec.generate_private_key(ec.SECP256R1())
    server = _certificate(
        "kube-apiserver",
        key,
        ca,
        ca_key,
        names=[*names, x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc")],
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
    )
    _store(folder / "apiserver", server, key)
    key = ec.generate_private_key(ec.SECP256R1())
    client = _certificate(
        "kube-apiserver-kubelet-client",
        key,
        ca,
        ca_key,
        organization="system:masters",
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
    )
    _store(folder / "kubelet-client", client, key)
    _write_key(folder / "sa.key", rsa.generate_private_key(65537, 2048))


def tokens(file: Path, users: dict[str, tuple[str, str]]) -> dict[str, str]:
    """The token of each name, from the API server's token file or made now. `users`: name → (user, group or "")."""
    if file.exists():
        known = (line.split(",") for line in file.read_text().splitlines())
        return {name: token for token, _, name, *_ in known}
    made = {name: secrets.token_hex(16) for name in users}
    file.touch(mode=0o600)
    lines = [f"{made[name]},{user},{name}" + (f',"{group}"' if group else "") for name, (user, group) in users.items()]
    file.write_text("".join(f"{line}\n" for line in lines))
    return made


def kubeconfig(file: Path, url: str, ca: Path, token: str) -> Path:
    """Writes a kubeconfig; a JSON document is YAML, too."""
    file.touch(mode=0o600)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "spinner",
        "clusters": [{"name": "spinner", "cluster": {"server": url, "certificate-authority": str(ca)}}],
        "users": [{"name": "spinner", "user": {"token": token}}],
        "contexts": [{"name": "spinner", "context": {"cluster": "spinner", "user": "spinner"}}],
    }
    file.write_text(json.dumps(document))
    return file


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    authority: bool = False,
    names: list[x509.GeneralName] | None = None,
    organization: str = "",
    usage: x509.ObjectIdentifier | None = None,
) -> x509.Certificate:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    subject = x509.Name(attributes)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if authority:
        builder = builder.add_extension(
            x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True
        )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _store(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    path.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_key(path.with_suffix(".key"), key)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
