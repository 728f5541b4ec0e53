"""What the chart takes from the rest of the repository: version, CRDs, metrics, the script of helm test."""

import json
import re
from pathlib import Path

import yaml

from carillon_core import __version__
from carillon_core.resources.crd.definitions import KINDS
from carillon_local.layout import CHART, CRDS, ROOT
from support.chart import of_kind, pods


def test_the_chart_is_of_this_release() -> None:
    """The version of chart, app and packages is one."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], str(chart["appVersion"])) == (__version__, __version__)


def test_the_chart_has_the_crds_that_the_models_make() -> None:
    """Byte for byte as in crds/, and rendered with the note that keeps them when the release goes."""
    files = {path.name: path.read_bytes() for path in (CHART / "files" / "crds").iterdir()}
    assert files == {path.name: path.read_bytes() for path in CRDS.iterdir()}, "run: make manifests"
    found = of_kind("trial", "CustomResourceDefinition")
    assert len(found) == len(KINDS)
    for text in files.values():
        want = yaml.safe_load(text)
        made = found[want["metadata"]["name"]]
        assert made["spec"] == want["spec"]
        assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def metrics() -> set[str]:
    """Return the metrics that docs/metrics.md has, with what a histogram makes of its name."""
    found = set(re.findall(r"^\| `(carillon_\w+)` \| (\w+)", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    more = {f"{name}_{part}" for name, kind in found if kind == "histogram" for part in ("bucket", "sum", "count")}
    return {name for name, _ in found} | more


def expressions() -> dict[str, str]:
    """Return the expressions of the alerts and the dashboard by where they are."""
    (rules,) = of_kind("life", "PrometheusRule").values()
    found = {rule["alert"]: rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]}
    (board,) = of_kind("life", "ConfigMap").values()
    for panel in json.loads(board["data"]["carillon.json"])["panels"]:
        found |= {f"{panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    return found


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    """Each expression names at least one, and none that docs/metrics.md has not; parentheses and braces are closed."""
    for where, expression in expressions().items():
        named = set(re.findall(r"\bcarillon_\w+", expression))
        assert named, where
        assert named <= metrics(), where
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing), where


def test_the_script_of_helm_test_is_what_the_file_says() -> None:
    """It goes through the template unchanged."""
    (container,) = pods("trial")["Pod carillon-test"]["containers"]
    assert container["args"] == [(Path(CHART) / "files" / "installed.py").read_text()]
