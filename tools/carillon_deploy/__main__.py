"""``python -m carillon_deploy kind-up|kind-down|deploy|mk-image|mk-deploy|mk-url``: implements make's targets.

Settings are environment variables; ``release``, ``clusters`` and ``carillon_images`` list theirs.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

from carillon_deploy import clusters
from carillon_deploy.programs import DeployError
from carillon_deploy.release import Deployment, Settings, environment
from carillon_devcluster.errors import ClusterError
from carillon_images.engines import ImageError


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code."""
    actions: dict[str, Callable[[], None]] = {
        "kind-up": clusters.kind_up,
        "kind-down": clusters.kind_down,
        "deploy": lambda: Deployment(environment()).run(wait=not given.no_wait),
        "mk-image": clusters.minikube_images,
        "mk-deploy": lambda: _minikube(wait=not given.no_wait),
        "mk-url": clusters.minikube_url,
    }
    parser = argparse.ArgumentParser(prog="python -m carillon_deploy", description=main.__doc__)
    parser.add_argument("action", choices=sorted(actions))
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the objects are ready")
    given = parser.parse_args(arguments)
    try:
        actions[given.action]()
    except (DeployError, ImageError, ClusterError, subprocess.CalledProcessError) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    return 0


def _minikube(*, wait: bool) -> None:
    clusters.running_minikube()
    settings = Settings.from_env({**os.environ, "CONTEXT": clusters.minikube_profile()})
    # a node port, for `minikube service`
    Deployment(settings, {"api": {"service": {"type": "NodePort"}}}, loaded=True).run(wait=wait)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
