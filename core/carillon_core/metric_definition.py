"""The definition of a Prometheus metric, from which a program makes it and ``docs/metrics.md`` describes it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """The definition of a metric."""

    name: str
    kind: str
    """Prometheus' type: ``counter``, whose samples end in ``_total``, ``gauge``, ``histogram`` or ``summary``."""
    description: str
    labels: tuple[str, ...] = ()
