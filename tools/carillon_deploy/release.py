"""The release: the chart, installed or upgraded by Helm in the cluster that the kubeconfig names.

Settings are environment variables: KUBECONFIG and CONTEXT (which cluster), NAMESPACE, VALUES (files of values, by
commas; without them it is a trial with a Postgres of its own), REGISTRY and IMAGE_TAG (the images, as ``make images``
names them), TIMEOUT (how long Helm waits, such as 10m). Called by ``__main__``.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from carillon_chart.programs import HELM, program
from carillon_core import __version__
from carillon_core.resources.name_patterns import is_dns_label
from carillon_deploy.programs import DeployError
from carillon_images.__main__ import image_name
from carillon_local.layout import CHART
from carillon_local.target import KIND_NAME

RELEASE = "carillon"
NAMESPACE = "carillon-system"
LOADED = ("kind-", "minikube")
"""How contexts begin whose clusters are given images, and need not pull them."""
_DURATION = re.compile(r"([0-9]+(h|m|s))+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a deployment can be told; each field names its variable."""

    context: str
    """``CONTEXT``: the context of the kubeconfig; the current one without it."""
    namespace: str = NAMESPACE
    """``NAMESPACE``: where the release is."""
    values: tuple[Path, ...] = ()
    """``VALUES``: files of values, by commas, the last of which wins."""
    timeout: str = "10m"
    """``TIMEOUT``: how long Helm waits until all is ready."""
    registry: str = ""
    """``REGISTRY``: where the images are pulled from; without it, they have been loaded."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings; the kubeconfig says which context is current.

        Raises:
            DeployError: A variable is invalid; the message names it and says what to do.

        """
        namespace = env.get("NAMESPACE", "").strip() or NAMESPACE
        if not is_dns_label(namespace):
            raise DeployError(f"NAMESPACE is {namespace!r}: set it to small letters, digits and hyphens")
        values = tuple(Path(word.strip()) for word in env.get("VALUES", "").split(",") if word.strip())
        for file in values:
            if not file.is_file():
                raise DeployError(f"VALUES names {file}, which is no file: correct the path")
        timeout = env.get("TIMEOUT", "").strip() or "10m"
        if not _DURATION.fullmatch(timeout):
            raise DeployError(f"TIMEOUT is {timeout!r}: set it to a duration such as 10m or 90s")
        return cls(
            context=known_context(env.get("CONTEXT", "").strip(), env.get("KUBECONFIG") or None),
            namespace=namespace,
            values=values,
            timeout=timeout,
            registry=env.get("REGISTRY", "").strip(),
        )


def known_context(wanted: str, kubeconfig: str | None) -> str:
    """Return the context to use: the one that is asked for, or the current one.

    `kubeconfig` is as the variable is: files, by colons; kubectl's own without it.

    Raises:
        DeployError: There is no kubeconfig, no current context, or not the one that is asked for.

    """
    here = f"kind-{KIND_NAME}"
    names, current = _contexts(kubeconfig or "~/.kube/config")
    if wanted and wanted not in names:
        raise DeployError(f"CONTEXT is {wanted!r}, which the kubeconfig has not: set it to one of {', '.join(names)}")
    if not wanted and current not in names:
        said = f"its current context is {current!r}, which it has not" if current else "it has no current context"
        raise DeployError(f"the kubeconfig says no cluster ({said}): set CONTEXT to one of {', '.join(names)}")
    found = wanted or current
    if found == here:
        raise DeployError(
            f"context {here} is the cluster of make run, whose operator would decide about the same tasks: set CONTEXT"
            " to another, or make one: make kind-up"
        )
    return found


def _contexts(kubeconfig: str) -> tuple[list[str], str]:
    """Return the names of all contexts, and the current one, as kubectl has it: the first file that names one.

    The client's own function refuses a kubeconfig that has no current context, and takes the last file's.

    Raises:
        DeployError: No file is there, or one is no kubeconfig, or none has a context.

    """
    mend = "set KUBECONFIG to the file of the cluster, or make a cluster: make kind-up"
    names, current, file = set[str](), "", Path(kubeconfig)
    try:
        for name in filter(None, kubeconfig.split(os.pathsep)):
            file = Path(name)
            if not (file := file.expanduser()).is_file():
                continue
            config = yaml.safe_load(file.read_text()) or {}
            names |= {str(each["name"]) for each in config.get("contexts") or []}
            current = current or str(config.get("current-context") or "")
    except (OSError, RuntimeError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise DeployError(f"no usable kubeconfig ({file}: {error}): {mend}") from error
    if not names:
        raise DeployError(f"no usable kubeconfig ({kubeconfig} has no context): {mend}")
    return sorted(names), current


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is deployed, and how."""

    settings: Settings
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Values of the kind of cluster, by their part of the chart; the user's win over them."""

    loaded: bool = False
    """Whether the images have been loaded into the cluster."""

    def run(self, *, wait: bool = True) -> None:
        """Install the release, or upgrade it; Helm prints how to reach it.

        Raises:
            DeployError: The cluster cannot get the images, or Helm failed; the message says what to do.
            ClusterError: Helm is not there and cannot be built.

        """
        settings = self.settings
        self._refuse_images_that_are_nowhere()
        print(f"deploying to the cluster of context {settings.context}, namespace {settings.namespace}", flush=True)
        with _file_of(self.values()) as first:
            files = [word for file in (first, *settings.values) for word in ("--values", str(file))]
            target = ("--kube-context", settings.context, "--namespace", settings.namespace, "--create-namespace")
            waiting = ("--wait", "--timeout", settings.timeout) if wait else ()
            command = [str(program(HELM)), "upgrade", "--install", RELEASE, str(CHART), *target, *waiting, *files]
            done = subprocess.run(command, check=False)
        if done.returncode:
            pods = f"kubectl --context {settings.context} --namespace {settings.namespace} get pods"
            raise DeployError(f"Helm did not get the release ready; see above, and what its pods say: {pods}")

    def values(self) -> dict[str, Any]:
        """Return the values that come before the user's files: the images, and the database of a trial."""
        values: dict[str, Any] = {
            "operator": {"image": _image("operator"), "runnerImage": _image("runner")},
        }
        if not self.settings.values:
            # a trial cluster has no metrics server for an autoscaler
            values |= {"postgres": {"enabled": True}, "api": {"autoscaling": {"enabled": False}}}
        for part, more in self.more.items():
            values[part] = values.get(part, {}) | more
        return values

    def _refuse_images_that_are_nowhere(self) -> None:
        settings = self.settings
        if self.loaded or settings.registry or settings.values or settings.context.startswith(LOADED):
            return
        raise DeployError(
            f"REGISTRY is not set, and the cluster of context {settings.context} has not been given the images: push"
            " them where it pulls from (make images REGISTRY=…, docs/clusters.md), then make deploy REGISTRY=…"
        )


def _image(name: str) -> dict[str, str]:
    repository, _, tag = image_name(name).rpartition(":")
    return {"repository": repository, "tag": "" if tag == __version__ else tag}


@contextmanager
def _file_of(values: Mapping[str, Any]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="carillon-deploy-") as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        yield file


def environment() -> Settings:
    """Return the settings of this process; errors as ``Settings.from_env``'s."""
    return Settings.from_env(os.environ)
