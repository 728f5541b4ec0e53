"""kind and minikube: a cluster, and the images in it. Called by ``__main__``.

Each is its own program, found on the path. Images are built by the engine at hand and given to the cluster as
archives, which is the one way that works with Docker, Podman and buildah alike.
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
"""Not the one of ``make run``, whose operator is a process of this machine: two would decide about each task."""
READY_WITHIN = "180s"


def kind_cluster() -> str:
    """Return the kind cluster's name: ``KIND_CLUSTER``, or ours."""
    return os.environ.get("KIND_CLUSTER", "").strip() or KIND_CLUSTER


def kind_up() -> None:
    """Make the kind cluster if it is not there, make its context the current one, build the images and load them.

    Raises:
        DeployError: kind is missing, or no engine that it can use answers, or it failed.
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
    print(f"the kind cluster {name} has the images, and is the current context: make deploy; make kind-down ends it")


def kind_down() -> None:
    """Delete the kind cluster with all that is in it; nothing happens if it is not there.

    Raises:
        DeployError: kind is missing, or failed.

    """
    shown(needed("kind"), "delete", "cluster", "--name", kind_cluster(), env=_provider())


def _provider() -> dict[str, str]:
    """Return what tells kind which engine its nodes run in; the engine that builds may be another.

    Raises:
        DeployError: Neither Docker nor Podman answers.

    """
    wanted = os.environ.get("ENGINE", "")
    for name in (wanted,) if wanted in {"docker", "podman"} else ("docker", "podman"):
        if answers(name):
            return {"KIND_EXPERIMENTAL_PROVIDER": name}
    raise DeployError("kind runs its nodes in containers, and neither Docker nor Podman answers: start one of them")


def minikube_profile() -> str:
    """Return the minikube profile, which its context is named after: ``MINIKUBE_PROFILE``, or minikube's own."""
    return os.environ.get("MINIKUBE_PROFILE", "").strip() or "minikube"


def running_minikube() -> str:
    """Return minikube's path.

    Raises:
        DeployError: It is missing, or its cluster does not run.

    """
    minikube, profile = needed("minikube"), minikube_profile()
    command = [minikube, "status", "--profile", profile]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise DeployError(f"minikube's cluster {profile} does not run: minikube start --profile {profile}")
    return minikube


def minikube_images() -> None:
    """Build the images by the engine at hand and load them into minikube, or have minikube build them itself.

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
        # nothing that is not asked for: what minikube makes of it depends on its container runtime
        told = [f"--build-opt=build-arg={name}={value}" for name, value in base_arguments().items()]
        for name in PROGRAMS:
            named = ("--tag", image_name(name), "--file", f"Dockerfile.{name}")
            shown(minikube, "image", "build", *profile, *named, *told, str(ROOT))
    else:
        build(engine)
        _archived(engine, lambda archive: shown(minikube, "image", "load", *profile, str(archive)))
    print("minikube has the images: make mk-deploy")


def minikube_url() -> None:
    """Print the API's address; with some of minikube's drivers it holds as long as this runs.

    Raises:
        DeployError: minikube is missing, does not run, or finds no such Service.

    """
    where = ("--namespace", os.environ.get("NAMESPACE", "").strip() or NAMESPACE)
    shown(running_minikube(), "service", f"{RELEASE}-api", "--url", "--profile", minikube_profile(), *where)


def _archived(engine: Engine, load: Callable[[Path], None]) -> None:
    for name in PROGRAMS:
        with tempfile.TemporaryDirectory(prefix="carillon-images-") as folder:
            archive = Path(folder) / f"carillon-{name}.tar"
            engine.archive(image_name(name), archive)
            load(archive)
