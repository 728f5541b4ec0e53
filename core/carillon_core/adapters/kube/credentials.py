"""Our credentials for the API server: a kubeconfig or a pod's service account, kept fresh. For the connection."""

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from carillon_core.errors import SettingsError

IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
"""Set in every pod; with it and without a kubeconfig, the pod's service account is used."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
RENEWAL_SECONDS = 10.0
"""Each renewal may run a plugin, and a caller without permission may cause many."""


class Credentials:
    """The API server's address, the trust in it, and the header that authenticates requests."""

    def __init__(
        self,
        kubeconfig: str | None,
        renewal_seconds: float = RENEWAL_SECONDS,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Name the kubeconfig; nothing is read yet.

        Args:
            kubeconfig: A path or several, as in ``KUBECONFIG``; None means in-cluster, else the usual file.
            renewal_seconds: The shortest time between two readings of rejected credentials.
            environment: Shows whether this is a pod.

        """
        self._kubeconfig = kubeconfig
        self._renewal_seconds = renewal_seconds
        self._environment = environment
        self._configuration = Configuration()
        self.ssl_context = ssl.create_default_context()
        self._loader: Any = None  # the client's own class, published without types
        self._renewal = asyncio.Lock()
        self._loaded_at = float("-inf")
        self.generation = 0
        """Grows with each reading."""

    async def load(self) -> None:
        """Read the credentials, at the start and whenever the API server rejects them.

        Raises:
            SettingsError: They are missing or unreadable; the message names the file, never its content.

        """
        configuration = Configuration()
        self._loader = None
        try:
            if self._kubeconfig is None and IN_CLUSTER in self._environment:
                config.load_incluster_config(  # type: ignore[no-untyped-call]  # published without types
                    client_configuration=configuration
                )
            else:
                # it would write the file it has read if told to persist
                self._loader = await config.load_kube_config(  # type: ignore[no-untyped-call]  # published without types
                    config_file=self._kubeconfig, client_configuration=configuration, persist_config=False
                )
        except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            where = self._kubeconfig or "no KUBECONFIG, no pod's service account, and ~/.kube/config"
            hint = "set KUBECONFIG to a file that kubectl works with"
            raise SettingsError(
                f"no credentials for the API server ({where}: {type(error).__name__}): {hint}"
            ) from error
        self._configuration = configuration
        self.ssl_context = _ssl_context(configuration)
        self._loaded_at = asyncio.get_running_loop().time()
        self.generation += 1

    async def renew(self, seen: int) -> bool:
        """Read the credentials again after a 401; return whether they have changed.

        Args:
            seen: The ``generation`` of the rejected credentials.

        """
        async with self._renewal:
            now = asyncio.get_running_loop().time()
            if self.generation == seen and now - self._loaded_at > self._renewal_seconds:
                await self.load()
            return self.generation != seen

    async def authorization(self) -> str | None:
        """Return the ``Authorization`` header's value; None if a client certificate authenticates us."""
        if hasattr(self._loader, "exec_plugin_expiry"):
            # the loader runs the plugin again only when the token has expired
            await self._loader.load_from_exec_plugin()
            self._configuration.api_key["BearerToken"] = self._loader.token
        # runs the client's hook, which reads a rotated service account token
        value: str | None = await self._configuration.get_api_key_with_prefix("BearerToken")
        return value

    @property
    def server(self) -> str:
        """The API server's URL, without a slash at the end."""
        return str(self._configuration.host).rstrip("/")

    @property
    def proxy(self) -> str | None:
        """The proxy on the way to it: the kubeconfig's, else the environment's."""
        where = urlsplit(self.server)
        if self._configuration.proxy:
            return str(self._configuration.proxy)
        if where.hostname in _LOOPBACK or proxy_bypass(where.hostname or ""):
            return None
        return getproxies().get(where.scheme)

    @property
    def server_name(self) -> str | None:
        """The name that its certificate must have, if it differs from the URL's."""
        found: str | None = self._configuration.tls_server_name
        return found


def _ssl_context(known: Configuration) -> ssl.SSLContext:
    """Return the trust in the API server, and the client certificate if there is one."""
    context = ssl.create_default_context(cafile=known.ssl_ca_cert)
    # Python 3.13 requires extensions that many clusters' CAs lack; kubectl does not require them
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if known.cert_file:
        context.load_cert_chain(known.cert_file, keyfile=known.key_file)
    if not known.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
