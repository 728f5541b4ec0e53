"""Two hundred and more CronJobs, written for this project: combinations of templates, schedules, policies and metadata.

The templates of Jobs are in ``templates``, as YAML. Each is used several times, each time with another schedule, other
policies and other metadata, as charts, kustomizations and plain files have them. Nothing is drawn by chance.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("templates")
NAMESPACES = ("default", "backup", "shop", "monitoring", "data-science", "kube-tools")
SUFFIXES = ("", "-eu", "-staging", "-v2")
"""What the names of CronJobs end with: each template is used once with each."""
SCHEDULES: tuple[tuple[str, str | None], ...] = (
    ("0 2 * * *", None),
    ("30 2 * * *", "Europe/Berlin"),
    ("*/5 * * * *", None),
    ("@daily", None),
    ("0 0 * * 0", "America/New_York"),
    ("15 */6 * * *", "Asia/Tokyo"),
    ("0 3 1 * *", None),
    ("@hourly", "Europe/London"),
    ("0 9-17 * * 1-5", "America/Los_Angeles"),
    ("0 9-17/2 * * MON-FRI", "Australia/Sydney"),
    ("*/15 8-18 * * 1,2,3,4,5", "Europe/Paris"),
    ("0 0 1 1 *", None),
    ("5 4 * * sun", "UTC"),
    ("0 22 * * 1-5", None),
    ("0 1 */2 * *", "Asia/Kolkata"),
    ("@weekly", "Etc/UTC"),
    ("0 0,12 1 */2 *", None),
    ("23 0-20/2 * * *", "America/Sao_Paulo"),
    ("0 4 8-14 * *", "Europe/Madrid"),
    ("45 23 * * 6", "Pacific/Auckland"),
    ("10 1 * * *", "America/St_Johns"),
    ("0 6 * * 1", "Africa/Casablanca"),
    ("@monthly", None),
    ("0 0 13 * 5", None),
    ("0 12 ? * MON", "Europe/Vienna"),
    ("* * * * *", None),
    ("0/10 * * * *", None),
    ("1-59/4 * * * *", "Europe/Berlin"),
    ("0 0 28-31 * *", "Asia/Kathmandu"),
    ("30 1 * 3,11 *", "America/Chicago"),
    ("0 2 * mar,oct SUN", "Europe/Rome"),
    ("@every 1h30m", None),
    ("@every 10m", None),
    ("@yearly", "Asia/Tehran"),
    ("0 */1 * * *", None),
    ("59 23 31 12 *", "Europe/Lisbon"),
    ("0 7 * * 1-5", "Africa/Cairo"),
    ("*/90 * * * *", None),
    ("20 4 */3 * *", "America/Santiago"),
    ("0 0 29 2 *", None),
    ("05 08 * * *", "Europe/Dublin"),
    ("CRON_TZ=Europe/Zurich 0 18 * * 5", None),
    ("TZ=Asia/Singapore 30 6 * * *", None),
    ("17 * * * *", "Asia/Kabul"),
    ("0 5,17 * * *", "America/Havana"),
    ("@midnight", "America/Asuncion"),
    ("30 0 * * *", "Asia/Beirut"),
    ("2,17,32,47 * * * *", None),
    ("0 8 * * 1", "Europe/Istanbul"),
    ("0 23 28 * *", "Pacific/Chatham"),
    ("15 2,3 * * *", "America/Toronto"),
)
DENSE = {"* * * * *", "*/5 * * * *", "1-59/4 * * * *", "0/10 * * * *", "2,17,32,47 * * * *", "@every 10m"}
"""Schedules with very many times: each is used once, and others in their place later."""
SPARSE = ("7 3 * * *", "40 5 * * 2,4", "0 2 */10 * *", "25 14 * * *", "0 6 1,15 * *")
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1},
    {"concurrencyPolicy": "Allow"},
    {"concurrencyPolicy": "Replace", "startingDeadlineSeconds": 60},
    {"concurrencyPolicy": "Forbid", "suspend": True},
    {"suspend": False, "successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 3},
    {"startingDeadlineSeconds": 200, "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 5},
    {"successfulJobsHistoryLimit": 200},
    {"concurrencyPolicy": "Forbid", "startingDeadlineSeconds": 86400, "failedJobsHistoryLimit": 10},
    {"suspend": None, "timeZone": None, "startingDeadlineSeconds": None},
    {"concurrencyPolicy": "Replace", "failedJobsHistoryLimit": 0},
)
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
METADATA: tuple[dict[str, Any], ...] = (
    {},
    {"labels": {"app": "cron"}},
    {
        "labels": {
            "app.kubernetes.io/name": "cron",
            "app.kubernetes.io/managed-by": "Helm",
            "helm.sh/chart": "cron-1.2.3",
        },
        "annotations": {"meta.helm.sh/release-name": "cron", "meta.helm.sh/release-namespace": "shop"},
    },
    {"annotations": {APPLIED: '{"apiVersion":"batch/v1"}\n', "argocd.argoproj.io/sync-wave": "5"}},
    {
        "labels": {"team": "platform", "env": "prod"},
        "annotations": {"description": "Runs at night.\nAsk before editing."},
    },
    {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}, "labels": {"tier": "batch", "v": "1e3"}},
)


def templates() -> dict[str, dict[str, Any]]:
    """Return the jobTemplates by name."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml")))
    made = [document for text in texts for document in yaml.safe_load_all(text)]
    found = {each["name"]: each["jobTemplate"] for each in made}
    if len(found) != len(made):
        msg = "two templates have the same name"
        raise ValueError(msg)
    return found


def cronjobs() -> Iterator[dict[str, Any]]:
    """Yield the CronJobs, each a new object."""
    for turn, suffix in enumerate(SUFFIXES):
        made = templates()
        for number, (name, template) in enumerate(made.items(), turn * len(made)):
            yield _cronjob(number, f"{name}{suffix}", template)


def _cronjob(number: int, name: str, template: dict[str, Any]) -> dict[str, Any]:
    schedule, zone = SCHEDULES[number % len(SCHEDULES)]
    if schedule in DENSE and number >= len(SCHEDULES):
        schedule = SPARSE[number % len(SPARSE)]
    spec: dict[str, Any] = {"schedule": schedule, **({"timeZone": zone} if zone else {})}
    policy = POLICIES[number % len(POLICIES)]
    spec |= {key: value for key, value in policy.items() if key not in spec}
    made = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": name,
            "namespace": NAMESPACES[number % len(NAMESPACES)],
            **METADATA[number // len(NAMESPACES) % len(METADATA)],
        },
        "spec": {**spec, "jobTemplate": template},
    }
    return _stored(made, number) if number % 7 == 0 else made


def _stored(made: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a CronJob as ``kubectl get --output yaml`` shows it."""
    servers = {
        "uid": f"00000000-0000-4000-8000-{number:012}",
        "resourceVersion": str(1000 + number),
        "generation": 1,
        "creationTimestamp": "2025-11-03T08:15:00Z",
        "managedFields": [{"manager": "kubectl", "operation": "Update"}],
    }
    status = {"lastScheduleTime": "2025-12-31T23:00:00Z", "lastSuccessfulTime": "2025-12-31T23:00:09Z"}
    return {**made, "metadata": {**made["metadata"], **servers}, "status": status}
