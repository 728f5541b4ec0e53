"""The command line: `python3 -m carillon_devcluster`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from carillon_devcluster.cluster import LocalCluster, Status, as_json
from carillon_devcluster.errors import ClusterError
from carillon_devcluster.layout import DEFAULT_NAME, DEFAULT_ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_CODES = {"running": 0, "broken": 1, "stopped": 3}
"""The exit codes of `status`; 3 for a stopped service is the convention of LSB init scripts."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=DEFAULT_NAME, help="the name of the cluster (default: %(default)s)")
    common.add_argument("--root", "--state", default=str(DEFAULT_ROOT), help="the state root (default: .carillon)")
    common.add_argument("--build-root", default=None, help="the state root with the program (default: --root)")
    top = argparse.ArgumentParser(
        prog="carillon_devcluster",
        description="A real Kubernetes cluster without root and without a container engine.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, action: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, parents=[common])
        added.set_defaults(action=action)
        return added

    command("build", _build, "build the cluster's program unless it is current")
    start = command("start", _start, "start the cluster and wait until it is ready; no effect if it is running")
    start.add_argument("--kubeconfig", default=None, help="where to write the kubeconfig")
    start.add_argument("--images", default=None, help="a JSON file with the image table")
    start.add_argument("--timeout", type=float, default=120.0, help="seconds to wait (default: %(default)s)")
    command("stop", _stop, "stop all of the cluster's processes; its objects are kept")
    command("delete", _delete, "stop the cluster and delete its data")
    status = command("status", _status, "show the state of the cluster; exit code 0: running, 1: broken, 3: stopped")
    status.add_argument("--json", action="store_true", help="as JSON")
    command("check", _check, "exit with 0 if the cluster works, else print what is wrong")
    command("kubeconfig", _kubeconfig, "print the path of the kubeconfig")
    kubectl = command("kubectl", _kubectl, "run kubectl on the cluster; its own flags after --")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = parser().parse_args(arguments)
    try:
        action: Callable[[argparse.Namespace], int] = options.action
        return action(options)
    except ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


def _cluster(options: argparse.Namespace) -> LocalCluster:
    return LocalCluster(options.name, options.root, build_root=options.build_root)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _build(options: argparse.Namespace) -> int:
    _say(str(_cluster(options).build()))
    return 0


def _start(options: argparse.Namespace) -> int:
    cluster = _cluster(options)
    if options.images is not None:
        try:
            with open(options.images, encoding="utf-8") as file:  # noqa: PTH123
                cluster.set_images(json.load(file))
        except (OSError, ValueError) as error:
            message = f"The image table {options.images} cannot be read: it must be a JSON object ({error})."
            raise ClusterError(message) from error
    cluster.start(options.kubeconfig, timeout=options.timeout)
    _say(f"the cluster {cluster.name!r} is running: KUBECONFIG={cluster.kubeconfig}")
    return 0


def _stop(options: argparse.Namespace) -> int:
    _cluster(options).stop()
    return 0


def _delete(options: argparse.Namespace) -> int:
    _cluster(options).delete()
    return 0


def _status(options: argparse.Namespace) -> int:
    status = _cluster(options).status()
    _say(json.dumps(as_json(status), indent=2) if options.json else render(status))
    return EXIT_CODES[status.state]


def _check(options: argparse.Namespace) -> int:
    _cluster(options).check()
    return 0


def _kubeconfig(options: argparse.Namespace) -> int:
    _say(str(_cluster(options).kubeconfig))
    return 0


def _kubectl(options: argparse.Namespace) -> int:
    cluster = _cluster(options)
    cluster.check()
    arguments = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    command = cluster.kubectl_command(arguments)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - becomes kubectl, signals and terminal and all


def render(status: Status) -> str:
    """Return a status as text."""
    lines = [f"cluster     {status.name}: {status.state}"]
    if status.state != "stopped":
        lines += [f"API server  {status.api_url}", f"kubeconfig  {status.kubeconfig}"]
        lines += [f"{'runs' if part.alive else 'DEAD':<11} {part.name} (process {part.pid})" for part in status.parts]
    return "\n".join([*lines, status.problem] if status.problem else lines)
