"""A real nginx with the configuration of `deploy/nginx.conf`, on loopback and with a certificate of its own."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
_CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")


def configuration(folder: Path, port: int, behind: dict[int, int]) -> str:
    """The configuration as it is deployed; changed are ports, by `behind`, and places of files."""
    text = _CONFIGURATION.read_text()
    for deployed, here in behind.items():
        text, count = re.subn(rf"\b127\.0\.0\.1:{deployed}\b", f"{HOST}:{here}", text)
        assert count == 1, deployed
    for deployed_text, here_text in {
        "listen 443 ssl;": f"listen {HOST}:{port} ssl;",
        "/etc/keno/": f"{folder}/",
        "http {": "http { access_log off; " + " ".join(f"{name}_temp_path {folder}/{name};" for name in _TEMPORARY),
    }.items():
        assert deployed_text in text
        text = text.replace(deployed_text, here_text)
    return text


@asynccontextmanager
async def proxied(folder: Path, port: int, behind: dict[int, int]) -> AsyncIterator[ssl.SSLContext]:
    """nginx on `port`, which passes on to `behind`; what its clients trust."""
    assert NGINX is not None
    _certify(folder)
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, behind))
    own = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;" + (" user root;" * (os.geteuid() == 0))
    process = await asyncio.create_subprocess_exec(
        NGINX, "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(file), "-g", own
    )
    try:
        while True:
            assert process.returncode is None, (folder / "error.log").read_text()
            try:
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.02)
        yield ssl.create_default_context(cafile=str(folder / "tls.crt"))
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _certify(folder: Path) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .sign(key, SHA256())
    )
    (folder / "tls.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
