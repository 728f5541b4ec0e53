"""Renews the webhook's certificate before it expires; ``Term`` runs it, so that one operator does.

No review may fail meanwhile. So the new certificate is prepared in the Secret
first, beside the one that serves; the API server is told to trust both
authorities; and only when it has had time to learn that, the new certificate
takes the place of the old one. Every replica reads it again from its files.

The Secret is the truth: the API server is told what is there, so an operator
that ends halfway, or a Helm upgrade in between, leaves nothing that the next
look does not put right.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from carillon_core.errors import CarillonError, ConflictError, ForbiddenError
from carillon_core.logs import get_logger
from carillon_core.ports import StoredCertificate, WebhookCertificates
from carillon_operator.renewal.certificates import InvalidCertificateError, due_at, issuer_of, succeeding

log = get_logger(__name__)

CA, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
NEXT_CERTIFICATE, NEXT_KEY = "next.crt", "next.key"
LOOK_EVERY = timedelta(hours=1)
SETTLE = timedelta(minutes=1)
"""How long API servers may take to learn what to trust."""
TRY_AGAIN = timedelta(seconds=5)
HINT = "grant the operator the permissions in charts/carillon/files/rbac/operator-certificate.yaml"


class Renewer:
    """Looks at the certificate again and again, and does what is due."""

    def __init__(
        self,
        certificates: WebhookCertificates,
        clock: Callable[[], datetime],
        *,
        look_every: timedelta = LOOK_EVERY,
        settle: timedelta = SETTLE,
    ) -> None:
        """Take where the certificate is; nothing runs yet."""
        self._certificates = certificates
        self._clock = clock
        self._look_every = look_every
        self._settle = settle
        self._trusted: tuple[bytes, datetime] | None = None
        """The authorities that the API server was seen to trust, and since when at the latest."""

    async def run(self) -> None:
        """Keep the certificate valid, for ever."""
        while True:
            wait = self._look_every
            try:
                wait = await self.look()
            except ConflictError:  # another operator, or Helm, was faster
                wait = TRY_AGAIN
            except ForbiddenError as error:
                log.warning("webhook certificate not checked or renewed", why=str(error), hint=HINT)
            except (CarillonError, InvalidCertificateError) as error:
                log.warning("webhook certificate not checked or renewed, trying again", why=str(error))
                wait = min(self._look_every, SETTLE)
            except Exception:  # a bug in the renewal must not end the operator
                log.exception("renewal of the webhook certificate failed")
            await asyncio.sleep(wait.total_seconds())

    async def look(self) -> timedelta:
        """Do what is due; return how long nothing else is.

        Raises:
            CarillonError: The certificate could not be read or stored; ``ConflictError`` if it changed meanwhile.
            InvalidCertificateError: It is none.

        """
        stored, now = await self._certificates.stored(), self._clock()
        certificate, authorities = stored.data.get(CERTIFICATE, b""), stored.data.get(CA, b"")
        due = due_at(certificate, authorities)
        prepared = self._is_prepared(stored, now)
        if not prepared and (due is None or due <= now):
            await self._prepare(stored, now)
            return timedelta()
        since = await self._trust(authorities, now)
        if not prepared:
            return min(self._look_every, max(timedelta(), (due or now) - now))
        if now - since < self._settle:
            return self._settle - (now - since)
        taken = {CERTIFICATE: stored.data[NEXT_CERTIFICATE], KEY: stored.data[NEXT_KEY]}
        await self._certificates.store(stored.version, {**taken, NEXT_CERTIFICATE: None, NEXT_KEY: None})
        log.info("webhook certificate renewed")
        return timedelta()

    def _is_prepared(self, stored: StoredCertificate, now: datetime) -> bool:
        """Return whether another certificate is prepared that can still be used."""
        if NEXT_CERTIFICATE not in stored.data or NEXT_KEY not in stored.data:
            return False
        due = due_at(stored.data[NEXT_CERTIFICATE], stored.data.get(CA, b""))
        return due is not None and now < due

    async def _prepare(self, stored: StoredCertificate, now: datetime) -> None:
        """Store the next certificate beside the one that serves, and its authority beside that one's."""
        certificate = stored.data[CERTIFICATE]
        made = succeeding(certificate, now)
        both = issuer_of(certificate, stored.data[CA]) + made.authority
        changes = {CA: both, NEXT_CERTIFICATE: made.certificate, NEXT_KEY: made.key}
        await self._certificates.store(stored.version, changes)
        log.info("next webhook certificate prepared")

    async def _trust(self, authorities: bytes, now: datetime) -> datetime:
        """Have the API server trust these authorities; return since when it does, as far as is known."""
        changed = await self._certificates.trust(authorities)
        if changed or self._trusted is None or self._trusted[0] != authorities:
            self._trusted = (authorities, now)
        return self._trusted[1]
