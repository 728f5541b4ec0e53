"""kind and minikube: create a cluster and load the images. Called by ``__main__``.

Both are external programs, found on the path. Images are built by the available engine and loaded as archives, which
works with Docker, Podman and buildah.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from carillon_deploy.programs import DeployError, asked, needed, shown
from carillon_deploy.release import NAMESPACE, RELEASE
from carillon_images.__main__ import PROGRAMS, ROOT, base_arguments, build, image_name
from carillon_images.engines import Engine, ImageError, find_engine
from container_engine import answers

KIND_CLUSTER = "carillon-trial"
"""Not the cluster of ``make run``, whose operator runs on this machine: two would decide about each task."""
READY_WITHIN = "180s"


def kind_cluster() -> str:
    """Return the kind cluster's name: ``KIND_CLUSTER``, or ours."""
    return os.environ.get("KIND_CLUSTER", "").strip() or KIND_CLUSTER


def kind_up() -> None:
    """Create the kind cluster if it does not exist, make its context the current one, build the images and load them.

    Raises:
        DeployError: kind is missing, has no engine that it can use, or failed.
        ImageError: The images cannot be built.

    """
    kind, name = needed("kind"), kind_cluster()
    provider = _provider()
    if name in asked(kind, "get", "clusters", env=provider).split():
        shown(kind, "export", "kubeconfig", "--name", name, env=provider)
    else:
        shown(kind, "create", "cluster", "--name", name, "--wait", READY_WITHIN, env=provider)
    engine = find_engine(os.environ.get("ENGINE", ""))
    build(engine)
    _archived(engine, lambda archive: shown(kind, "load", "image-archive", str(archive), "--name", name, env=provider))
    print(f"the kind cluster {name} has the images and is the current context: make deploy; make kind-down deletes it")


def kind_down() -> None:
    """Delete the kind cluster and everything in it, if it exists.

    Raises:
        DeployError: kind is missing, or failed.

    """
    shown(needed("kind"), "delete", "cluster", "--name", kind_cluster(), env=_provider())


def _provider() -> dict[str, str]:
    """Return the environment variable that selects kind's engine, which may differ from the engine that builds.

    Raises:
        DeployError: Neither Docker nor Podman answers.

    """
    wanted = os.environ.get("ENGINE", "")
    for name in (wanted,) if wanted in {"docker", "podman"} else ("docker", "podman"):
        if answers(name):
            return {"KIND_EXPERIMENTAL_PROVIDER": name}
    raise DeployError("kind needs Docker or Podman, and neither answers: start one of them")


def minikube_profile() -> str:
    """Return the minikube profile, also the name of its context: ``MINIKUBE_PROFILE``, or minikube's default."""
    return os.environ.get("MINIKUBE_PROFILE", "").strip() or "minikube"


def running_minikube() -> str:
    """Return minikube's path.

    Raises:
        DeployError: It is missing, or its cluster is not running.

    """
    minikube, profile = needed("minikube"), minikube_profile()
    command = [minikube, "status", "--profile", profile]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise DeployError(f"minikube's cluster {profile} is not running: minikube start --profile {profile}")
    return minikube


def minikube_images() -> None:
    """Build the images with the available engine and load them into minikube, or let minikube build them.

    Raises:
        DeployError: minikube is missing, does not run, or failed.
        ImageError: The images cannot be built.

    """
    minikube = running_minikube()
    profile = ("--profile", minikube_profile())
    try:
        engine = find_engine(os.environ.get("ENGINE", ""))
    except ImageError:
        if os.environ.get("ENGINE"):
            raise
        # only what is set: minikube's handling of build arguments depends on its container runtime
        told = [f"--build-opt=build-arg={name}={value}" for name, value in base_arguments().items()]
        for name in PROGRAMS:
            named = ("--tag", image_name(name), "--file", f"Dockerfile.{name}")
            shown(minikube, "image", "build", *profile, *named, *told, str(ROOT))
    else:
        build(engine)
        _archived(engine, lambda archive: shown(minikube, "image", "load", *profile, str(archive)))
    print("minikube has the images: run make mk-deploy")


def minikube_url() -> None:
    """Print the API's address; with some of minikube's drivers it is valid only while this runs.

    Raises:
        DeployError: minikube is missing, is not running, or does not find the Service.

    """
    where = ("--namespace", os.environ.get("NAMESPACE", "").strip() or NAMESPACE)
    shown(running_minikube(), "service", f"{RELEASE}-api", "--url", "--profile", minikube_profile(), *where)


def _archived(engine: Engine, load: Callable[[Path], None]) -> None:
    for name in PROGRAMS:
        with tempfile.TemporaryDirectory(prefix="carillon-images-") as folder:
            archive = Path(folder) / f"carillon-{name}.tar"
            engine.archive(image_name(name), archive)
            load(archive)
