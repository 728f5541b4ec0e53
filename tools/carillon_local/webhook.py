"""The admission webhook of ``make run``: its certificate, and what the operator is told of it."""

from collections.abc import Mapping

import trustme

from carillon_local.layout import STATE

FOLDER = STATE / "webhook"
LOOPBACK = "127.0.0.1"
_FILES = {name: FOLDER / f"{name}.pem" for name in ("ca", "cert", "key")}


def webhook_settings(port: int) -> Mapping[str, str]:
    """Return the operator's settings for a webhook on loopback, where the local API server reaches it.

    Its certificate is made once, by an authority that is made with it and
    forgotten: nothing but this API server trusts it.

    Args:
        port: A port of the loopback address.

    """
    if not all(file.exists() for file in _FILES.values()):
        _make_certificate()
    return {
        "CARILLON_WEBHOOK_PORT": str(port),
        "CARILLON_WEBHOOK_ADDRESS": LOOPBACK,
        "CARILLON_WEBHOOK_HOST": LOOPBACK,
        **{f"CARILLON_WEBHOOK_{name.upper()}_FILE": str(file) for name, file in _FILES.items()},
    }


def _make_certificate() -> None:
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    authority = trustme.CA(organization_name="Carillon, local")
    issued = authority.issue_cert(LOOPBACK)
    _FILES["key"].touch(mode=0o600)
    issued.private_key_pem.write_to_path(_FILES["key"])
    _FILES["cert"].write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(_FILES["ca"])  # last: with it, the others are complete
