"""Installs or upgrades the chart with Helm in the cluster of the kubeconfig.

Settings are environment variables: KUBECONFIG and CONTEXT (the cluster), NAMESPACE, VALUES (files of values, separated
by commas; by default a trial with its own Postgres), REGISTRY and IMAGE_TAG (the images, as in ``make images``),
TIMEOUT (how long Helm waits, such as 10m). Called by ``__main__``.
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
from carillon_core.name_patterns import is_dns_label
from carillon_deploy.programs import DeployError
from carillon_images.__main__ import image_name
from carillon_local.layout import CHART
from carillon_local.target import KIND_NAME

RELEASE = "carillon"
NAMESPACE = "carillon-system"
LOADED = ("kind-", "minikube")
"""The prefixes of contexts of clusters into which images are loaded, so that they need not be pulled."""
_DURATION = re.compile(r"([0-9]+(h|m|s))+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a deployment; each field names its variable."""

    context: str
    """``CONTEXT``: the context of the kubeconfig. Default: the current one."""
    namespace: str = NAMESPACE
    """``NAMESPACE``: the namespace of the release."""
    values: tuple[Path, ...] = ()
    """``VALUES``: files of values, separated by commas; the last one wins."""
    timeout: str = "10m"
    """``TIMEOUT``: how long Helm waits until everything is ready."""
    registry: str = ""
    """``REGISTRY``: the registry of the images. Default: the images have been loaded into the cluster."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings; the kubeconfig says which context is current.

        Raises:
            DeployError: A variable is invalid; the message names it and says what to do.

        """
        namespace = env.get("NAMESPACE", "").strip() or NAMESPACE
        if not is_dns_label(namespace):
            rule = "at most 63 lower-case letters, digits and hyphens"
            raise DeployError(f"NAMESPACE: must be {rule} (got {namespace!r})")
        values = tuple(Path(word.strip()) for word in env.get("VALUES", "").split(",") if word.strip())
        for file in values:
            if not file.is_file():
                raise DeployError(f"VALUES: {file} is not a file: correct the path")
        timeout = env.get("TIMEOUT", "").strip() or "10m"
        if not _DURATION.fullmatch(timeout):
            raise DeployError(f"TIMEOUT: must be a duration such as 10m or 90s (got {timeout!r})")
        return cls(
            context=known_context(env.get("CONTEXT", "").strip(), env.get("KUBECONFIG") or None),
            namespace=namespace,
            values=values,
            timeout=timeout,
            registry=env.get("REGISTRY", "").strip(),
        )


def known_context(wanted: str, kubeconfig: str | None) -> str:
    """Return the context to use: the wanted one, or the current one.

    `kubeconfig` has the form of the variable: files, separated by colons; kubectl's default if empty.

    Raises:
        DeployError: There is no kubeconfig, no current context, or no context with the wanted name.

    """
    here = f"kind-{KIND_NAME}"
    names, current = _contexts(kubeconfig or "~/.kube/config")
    if wanted and wanted not in names:
        raise DeployError(f"CONTEXT: must be a context of the kubeconfig, one of {', '.join(names)} (got {wanted!r})")
    if not wanted and current not in names:
        said = f"its current context, {current!r}, does not exist" if current else "it has no current context"
        raise DeployError(f"the kubeconfig selects no cluster ({said}): set CONTEXT to one of {', '.join(names)}")
    found = wanted or current
    if found == here:
        raise DeployError(
            f"context {here} is the cluster of make run, whose operator would decide about the same tasks: set CONTEXT"
            " to another, or make one: make kind-up"
        )
    return found


def _contexts(kubeconfig: str) -> tuple[list[str], str]:
    """Return the names of all contexts, and the current one as kubectl reads it: from the first file that names one.

    The client's own function rejects a kubeconfig without a current context, and uses the last file's.

    Raises:
        DeployError: There is no file, one is not a kubeconfig, or there is no context.

    """
    hint = "set KUBECONFIG to the file of the cluster, or create a cluster: make kind-up"
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
        raise DeployError(f"no usable kubeconfig ({file}: {error}): {hint}") from error
    if not names:
        raise DeployError(f"no usable kubeconfig ({kubeconfig} has no context): {hint}")
    return sorted(names), current


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment of the chart."""

    settings: Settings
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Values for the kind of cluster, by part of the chart; the user's values override them."""

    loaded: bool = False
    """Whether the images have been loaded into the cluster."""

    def run(self, *, wait: bool = True) -> None:
        """Install the release, or upgrade it; Helm prints how to reach it.

        Raises:
            DeployError: The cluster cannot get the images, or Helm failed; the message says what to do.
            ClusterError: Helm is missing and cannot be built.

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
            raise DeployError(f"the release did not become ready; see Helm's output above, and its pods: {pods}")

    def values(self) -> dict[str, Any]:
        """Return the values that the user's files override: the images, and the database of a trial."""
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
            f"REGISTRY is not set, and the images are not loaded into the cluster of context {settings.context}: push"
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
    """Return the settings of this process; raises the errors of ``Settings.from_env``."""
    return Settings.from_env(os.environ)
