"""The command line: `python3 -m carillon_devcluster.realnode build|start|load|kubectl|stop|delete`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from carillon_devcluster.errors import ClusterError
from carillon_devcluster.layout import DEFAULT_ROOT, Root
from carillon_devcluster.realnode.build import build
from carillon_devcluster.realnode.node import RealNode


def main() -> int:
    """Run one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="carillon_devcluster.realnode", description=__doc__)
    parser.add_argument("--name", default="real", help="the name of the cluster (default: %(default)s)")
    parser.add_argument("--root", default=str(DEFAULT_ROOT), help="the state root (default: .carillon)")
    parser.add_argument("command", choices=("build", "start", "load", "kubectl", "stop", "delete"))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="load: image archives; kubectl: its arguments")
    options = parser.parse_args()
    try:
        return _run(options)
    except ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.command == "build":
        print(build(Root(Path(options.root).absolute())).folder)
        return 0
    node = RealNode(options.name, options.root)
    if options.command == "start":
        node.start()
        print(f"the cluster {options.name!r} is running with a real node: KUBECONFIG={node.cluster.kubeconfig}")
    elif options.command == "load":
        for archive in options.arguments:
            node.load_image(Path(archive))
    elif options.command == "kubectl":
        print(node.cluster.kubectl(*options.arguments), end="")
    elif options.command == "stop":
        node.stop()
    else:
        node.delete()
    return 0


if __name__ == "__main__":
    sys.exit(main())
