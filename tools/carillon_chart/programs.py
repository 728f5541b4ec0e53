"""Helm and the checkers of manifests, built on first use; the chart's tests and ``make lint`` run them."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from carillon_devcluster.go_tools import GoTool, built
from carillon_devcluster.layout import Root
from carillon_local.layout import CHART, STATE

_HERE = Path(__file__).parent
HELM = GoTool("helm", "helm.sh/helm/v4/cmd/helm", _HERE / "gotools")
KUBECONFORM = GoTool("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", _HERE / "gotools")
# its own Go module: it needs APIs that Helm's version of Kubernetes no longer has
KUBE_SCORE = GoTool("kube-score", "github.com/zegl/kube-score/cmd/kube-score", _HERE / "gotools_score")
RELEASE = "carillon"
NAMESPACE = "carillon-system"
CASES = tuple(sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml")))
"""The sets of values with which the checks render the chart."""


class ChartError(Exception):
    """Helm does not render the chart; the message is Helm's."""


def program(tool: GoTool) -> Path:
    """Return a tool's program, built if necessary; raises the errors of ``go_tools.built``."""
    return built(tool, Root(STATE), lambda text: print(text, flush=True))


def values_of(case: str) -> Path:
    """Return the file of a set of values."""
    return CHART / "ci" / f"{case}-values.yaml"


def rendered_text(*arguments: str, release: str = RELEASE, namespace: str = NAMESPACE, chart: Path = CHART) -> str:
    """Return what ``helm template`` renders, as text.

    Raises:
        ChartError: It fails, for example because a value is wrong.

    """
    command = [str(program(HELM)), "template", release, str(chart), "--namespace", namespace, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartError(done.stderr.strip())
    return done.stdout


def rendered(*arguments: str, release: str = RELEASE, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """Return the objects that ``helm template`` renders; raises the errors of ``rendered_text``."""
    return objects_of(rendered_text(*arguments, release=release, namespace=namespace))


def objects_of(text: str) -> list[dict[str, Any]]:
    """Return the objects of a text of manifests."""
    return [found for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found]


def pod_spec(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the pod spec of an object, which may be a pod itself; None if it has none."""
    if item["kind"] == "Pod":
        spec: dict[str, Any] = item["spec"]
        return spec
    found = (item.get("spec") or {}).get("template") or {}
    made: dict[str, Any] | None = found.get("spec") if isinstance(found, dict) else None
    return made
