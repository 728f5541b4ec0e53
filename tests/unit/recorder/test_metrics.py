"""The recorder's metrics."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from carillon_recorder.metrics import Metrics

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_every_metric_is_documented() -> None:
    """The page has the name, the type and the labels of each, except those of every Prometheus client."""
    metrics = Metrics(lambda: 3, lambda: 2)
    metrics.request_ended("claim", "OK", 0.01)
    page = PAGE.read_text(encoding="utf-8").partition("## Recorder")[2]
    families = [f for f in text_string_to_metric_families(metrics.text().decode()) if f.name.startswith("carillon_")]
    families = [f for f in families if not f.name.endswith("_created")]
    for family in families:
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"| {family.type} |" in row
        assert all(f"`{label}`" in row for label in labels)
    assert len(families) == page.count("| `carillon_")
