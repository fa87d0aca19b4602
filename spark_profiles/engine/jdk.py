"""EDGE. The JDK of PyPI made fit for Spark: a wrapped `java`, and the machine's own authorities.

The package is a trimmed JDK. Spark 4's launcher asks for a module that it lacks and that nothing
here needs; and it trusts its own list of authorities, where a company's proxy needs the machine's.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import stat
import struct
from pathlib import Path

_WRAPPER = """\
#!/bin/sh
for argument do
  shift
  case "$argument" in
    --add-modules=jdk.incubator.vector) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec "{java}" {options} "$@"
"""

_PASSWORD = "changeit"  # noqa: S105  Java's own habit; a list of authorities is no secret
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian and its kin
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat and its kin
    "/etc/ssl/cert.pem",  # macOS, Alpine
)


def wrapped(home: Path, cache: Path) -> Path:
    """A JAVA_HOME in `cache` whose `java` is that of `home`, made fit for Spark."""
    folder = cache / "jdk"
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    authorities = _authorities()
    options = ""
    if authorities:
        store = folder / "authorities.jks"
        store.write_bytes(trust_store(authorities))
        options = (
            f'"-Djavax.net.ssl.trustStore={store}"'
            f" -Djavax.net.ssl.trustStorePassword={_PASSWORD} -Djavax.net.ssl.trustStoreType=JKS"
        )
    java = folder / "bin" / "java"
    text = _WRAPPER.format(java=home / "bin" / "java", options=options)
    java.write_text(text, encoding="utf-8")
    java.chmod(java.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return folder


def _authorities() -> list[bytes]:
    """The certificates (DER) that this machine trusts; none where its list is not found."""
    named = [os.environ.get(name) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")]
    for bundle in (*named, ssl.get_default_verify_paths().cafile, *_BUNDLES):
        if bundle and Path(bundle).is_file():
            text = Path(bundle).read_text(encoding="utf-8", errors="replace")
            found = re.findall(
                "-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.S
            )
            return [ssl.PEM_cert_to_DER_cert(certificate) for certificate in found]
    return []


def trust_store(certificates: list[bytes]) -> bytes:
    """A Java key store (JKS, version 2) that trusts these certificates (DER)."""
    content = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for number, certificate in enumerate(certificates):
        trusted = struct.pack(">I", 2) + _text(f"authority-{number}") + struct.pack(">Q", 0)
        content += trusted + _text("X.509") + struct.pack(">I", len(certificate)) + certificate
    seal = hashlib.sha1(_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + content)  # noqa: S324
    return content + seal.digest()


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()
