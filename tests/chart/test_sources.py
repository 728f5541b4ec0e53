"""Parts of the chart that come from the rest of the repository: version, CRDs, metrics, the test's script."""

import json
import re
from pathlib import Path

import yaml

from carillon_core import __version__
from carillon_core.resources.crd.definitions import KINDS
from carillon_local.layout import CHART, CRDS, ROOT
from support.chart import of_kind, pods


def test_the_chart_is_of_this_release() -> None:
    """Chart, app and packages have the same version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], str(chart["appVersion"])) == (__version__, __version__)


def test_the_chart_has_the_crds_that_the_models_make() -> None:
    """The files equal those in crds/, and helm uninstall keeps the CRDs."""
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
    """Return the metrics in docs/metrics.md, including the series of histograms."""
    found = set(re.findall(r"^\| `(carillon_\w+)` \| (\w+)", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    more = {f"{name}_{part}" for name, kind in found if kind == "histogram" for part in ("bucket", "sum", "count")}
    return {name for name, _ in found} | more


def expressions() -> dict[str, str]:
    """Return the expressions of the alerts and the dashboard by their place."""
    (rules,) = of_kind("life", "PrometheusRule").values()
    found = {rule["alert"]: rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]}
    (board,) = of_kind("life", "ConfigMap").values()
    for panel in json.loads(board["data"]["carillon.json"])["panels"]:
        found |= {f"{panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    return found


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    """Each expression uses documented metrics, and its brackets are balanced."""
    for where, expression in expressions().items():
        named = set(re.findall(r"\bcarillon_\w+", expression))
        assert named, where
        assert named <= metrics(), where
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing), where


def test_what_stops_tasks_has_an_alert() -> None:
    """An object that was set aside, a held loop, no recorder, rows outside of the months."""
    wanted = {"CarillonQuarantined", "CarillonOperatorHeld", "CarillonRecorderMissing", "CarillonDefaultPartition"}
    assert wanted <= expressions().keys()


def test_the_script_of_helm_test_is_what_the_file_says() -> None:
    """The template does not change the script."""
    (container,) = pods("trial")["Pod carillon-test"]["containers"]
    assert container["args"] == [(Path(CHART) / "files" / "installed.py").read_text()]
