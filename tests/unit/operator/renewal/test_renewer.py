"""When the webhook's certificate is renewed, and that no review fails meanwhile."""

import ssl
from datetime import datetime, timedelta
from functools import cache

import pytest
from cryptography import x509

from carillon_core.errors import ConflictError
from carillon_operator.renewal.certificates import InvalidCertificateError, Issued, issuer_of
from carillon_operator.renewal.renewer import LOOK_EVERY, SETTLE, Renewer
from support.builders import at
from support.webhook_certificates import MemoryWebhookCertificates, made_at, secret_data

MADE = at("00:00:00")
LIFE = timedelta(days=360)
DUE = MADE + timedelta(days=240)

issued = cache(made_at)


class Kept:
    """A certificate that is looked at when the test says so."""

    def __init__(self, made: Issued | None = None) -> None:
        self.now = DUE
        self.secret = MemoryWebhookCertificates(secret_data(made or issued(MADE, LIFE)))
        self.renewer = Renewer(self.secret, lambda: self.now)

    async def look(self, when: datetime | None = None) -> timedelta:
        """Look; whatever was done, what serves is trusted, and its key is its own."""
        self.now = when or self.now
        wait = await self.renewer.look()
        assert issuer_of(self.secret.data["tls.crt"], self.secret.trusted)
        return wait

    async def renew(self) -> None:
        """Look as often as it takes to renew it."""
        assert await self.look() == timedelta()
        assert await self.look() == SETTLE
        assert await self.look(self.now + SETTLE) == timedelta()
        assert await self.look() == LOOK_EVERY


async def test_it_is_left_alone_until_two_thirds_of_its_life_are_over() -> None:
    """Then the look comes in time."""
    kept = Kept()
    before = dict(kept.secret.data)
    assert await kept.look(MADE) == LOOK_EVERY
    assert timedelta() < await kept.look(DUE - timedelta(minutes=30)) < LOOK_EVERY
    assert kept.secret.data == before


async def test_the_next_one_serves_when_its_authority_has_been_trusted_for_a_while() -> None:
    """Both authorities are trusted from before the change until the next one; it is for the same names and time."""
    kept = Kept()
    old = dict(kept.secret.data)
    await kept.look()
    assert kept.secret.data["tls.crt"] == old["tls.crt"]
    assert await kept.look() == SETTLE
    assert kept.secret.trusted.startswith(old["ca.crt"])
    assert kept.secret.data["tls.crt"] == old["tls.crt"]
    assert await kept.look(DUE + SETTLE / 2) == SETTLE / 2
    await kept.look(DUE + SETTLE)
    assert set(kept.secret.data) == {"ca.crt", "tls.crt", "tls.key"}
    assert kept.secret.data["tls.crt"] != old["tls.crt"]
    assert issuer_of(old["tls.crt"], kept.secret.trusted), "replicas may serve the old one for a while"
    was, now = (x509.load_pem_x509_certificate(data["tls.crt"]) for data in (old, kept.secret.data))
    names = [c.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for c in (was, now)]
    assert names[0] == names[1]
    assert now.not_valid_after_utc - now.not_valid_before_utc == LIFE


async def test_authorities_do_not_pile_up() -> None:
    """The one before the last is not trusted any more."""
    kept = Kept()
    for _ in range(3):
        await kept.renew()
        assert kept.secret.trusted.count(b"BEGIN CERTIFICATE") == 2
        kept.now += LIFE


async def test_an_expired_one_is_renewed_at_once() -> None:
    """As after a long stop, or a rollback of Helm."""
    kept = Kept()
    kept.now = MADE + 2 * LIFE
    await kept.renew()


async def test_one_of_an_authority_that_is_not_there_is_renewed_at_once() -> None:
    """As when Helm put back a part of what it knew."""
    kept = Kept()
    kept.now = MADE
    kept.secret.data["ca.crt"] = issued(MADE, LIFE, "other.test.svc").authority
    assert await kept.renewer.look() == timedelta()
    assert await kept.renewer.look() == SETTLE
    await kept.look(MADE + SETTLE)


async def test_what_another_wrote_meanwhile_is_looked_at_again() -> None:
    """An operator that was faster, or Helm; nothing of it is lost."""
    kept = Kept()
    kept.secret.faster.append({"annotated": b"by another"})
    with pytest.raises(ConflictError):
        await kept.look()
    await kept.renew()
    assert kept.secret.data["annotated"] == b"by another"


async def test_an_operator_that_follows_goes_on_where_the_last_one_stopped() -> None:
    """It uses the certificate that is prepared, and waits anew, since it does not know for how long it was trusted."""
    kept = Kept()
    await kept.look()
    prepared = kept.secret.data["next.crt"]
    kept.renewer = Renewer(kept.secret, lambda: kept.now)
    assert await kept.look(DUE + SETTLE) == SETTLE
    await kept.look(DUE + 2 * SETTLE)
    assert kept.secret.data["tls.crt"] == prepared


async def test_one_that_was_prepared_for_another_authority_is_made_anew() -> None:
    """As when Helm put back the authority alone."""
    kept = Kept()
    await kept.look()
    prepared = kept.secret.data["next.crt"]
    kept.secret.data["ca.crt"] = issued(MADE, LIFE).authority
    await kept.renew()
    assert kept.secret.data["tls.crt"] != prepared


async def test_what_the_api_server_trusts_follows_the_secret() -> None:
    """As when somebody has changed the configuration."""
    kept = Kept()
    kept.secret.trusted = b"something else"
    await kept.look(MADE)
    assert kept.secret.trusted == kept.secret.data["ca.crt"]


async def test_what_is_no_certificate_is_not_replaced() -> None:
    """Its names are not known; somebody has to see to it."""
    kept = Kept()
    kept.secret.data["tls.crt"] = b"none"
    with pytest.raises(InvalidCertificateError):
        await kept.renewer.look()


def test_a_server_takes_what_is_made(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The key belongs to the certificate, and a client that trusts its authority alone is content with it."""
    made, folder = issued(MADE, LIFE), tmp_path_factory.mktemp("made")
    for name, content in (("cert", made.certificate), ("key", made.key)):
        (folder / name).write_bytes(content)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / "cert", folder / "key")
