"""``carillon convert cronjob`` as a user calls it."""

import json
from typing import Any

import pytest
import yaml

from carillon_cli.yaml_text import yaml_text
from support.terminal import Said, Terminal

FROM = ("--from", "2026-01-01T00:00:00Z")
POD = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:1.37"}]}
SKIPPED = "2026-03-29 02:30 Europe/Berlin is skipped by the clock: a CronJob does not run, Carillon runs at 03:00"
REPEATED = "2026-10-25 02:30 Europe/Berlin occurs twice: a CronJob runs both times, Carillon only the first time"
BERLIN_AT_CHANGES = [
    f"default/job: {SKIPPED} (2026-03-29T01:00:00Z)",
    f"default/job: {REPEATED}, at 2026-10-25T00:30:00Z",
    "default/job: 400 fire times in 400 days, 2 differ at changes of the clock",
]


def cronjob(job: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Return a CronJob; ``job`` has fields of its Job's spec, and fields that are None are not set."""
    given = {"schedule": "30 2 * * *", "timeZone": "UTC", **spec}
    template = {"spec": {"template": {"spec": POD}, **(job or {})}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "job", **(metadata or {})},
        "spec": {"jobTemplate": template, **{name: value for name, value in given.items() if value is not None}},
    }


def run(terminal: Terminal, *objects: dict[str, Any], options: tuple[str, ...] = FROM) -> Said:
    """Convert objects of one file."""
    return terminal.run("convert", "cronjob", terminal.file(yaml_text(objects)), *options)


def task(said: Said) -> dict[str, Any]:
    """Return the only task of an output."""
    [found] = yaml.safe_load_all(said.out)
    assert isinstance(found, dict)
    return found


def test_every_field_has_its_place(terminal: Terminal) -> None:
    """What is not set in the CronJob stays unset, except the policies, whose defaults differ."""
    made = cronjob(
        {"ttlSecondsAfterFinished": 60, "backoffLimit": 2, "activeDeadlineSeconds": 30, "suspend": False},
        {"namespace": "prod", "labels": {"team": "a"}, "annotations": {"note": "kept"}},
        timeZone="Asia/Tokyo",
        startingDeadlineSeconds=300,
        concurrencyPolicy="Replace",
        suspend=True,
        successfulJobsHistoryLimit=0,
        failedJobsHistoryLimit=7,
    )
    said = run(terminal, made)
    assert said.code == 0
    assert task(said) == {
        "apiVersion": "carillon.dev/v1alpha1",
        "kind": "ScheduledTask",
        "metadata": {"name": "job", "namespace": "prod", "labels": {"team": "a"}, "annotations": {"note": "kept"}},
        "spec": {
            "schedule": "30 2 * * *",
            "timeZone": "Asia/Tokyo",
            "suspend": True,
            "concurrencyPolicy": "Replace",
            "missedRunPolicy": "Latest",
            "startingDeadlineSeconds": 300,
            "successfulJobsHistoryLimit": 0,
            "failedJobsHistoryLimit": 7,
            "ttlSecondsAfterFinished": 60,
            "task": {
                "job": {
                    "template": {
                        "spec": {"template": {"spec": POD}, "backoffLimit": 2, "activeDeadlineSeconds": 30},
                    }
                }
            },
        },
    }
    assert said.err.splitlines() == ["prod/job: 400 fire times in 400 days, the same"]


def test_the_default_policy_is_that_of_a_cronjob(terminal: Terminal) -> None:
    """A CronJob allows concurrent Jobs; a ScheduledTask forbids them."""
    spec = task(run(terminal, cronjob()))["spec"]
    assert spec.keys() == {"schedule", "timeZone", "concurrencyPolicy", "missedRunPolicy", "task"}
    assert spec["concurrencyPolicy"] == "Allow"


def test_what_a_cluster_adds_is_left_out(terminal: Terminal) -> None:
    """This holds for the metadata, the status, and kubectl's own annotation."""
    stored = cronjob(
        metadata={
            "uid": "1",
            "resourceVersion": "2",
            "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        }
    )
    stored["status"] = {"lastScheduleTime": "2026-01-01T00:00:00Z"}
    stored["spec"]["jobTemplate"]["metadata"] = {"creationTimestamp": None}
    stored["spec"]["jobTemplate"]["spec"]["template"]["metadata"] = {"creationTimestamp": None}
    said = run(terminal, stored)
    assert said.err.splitlines() == ["default/job: 400 fire times in 400 days, the same"]
    assert task(said)["metadata"] == {"name": "job"}
    assert task(said)["spec"]["task"]["job"]["template"] == {"spec": {"template": {"spec": POD}}}


DIFFERENCES = {
    "owners": (cronjob(metadata={"ownerReferences": [{"kind": "App"}]}), "metadata.ownerReferences: is left out: set"),
    "a longer history": (cronjob(failedJobsHistoryLimit=500), "spec.failedJobsHistoryLimit: becomes 100, the maximum"),
    "a long ttl": (
        cronjob({"ttlSecondsAfterFinished": 10**8}),
        "ttlSecondsAfterFinished: becomes 31622400, the maximum",
    ),
    "a schedule that only a CronJob reads": (
        cronjob(schedule="*/90 2 * * *"),
        "spec.schedule: '*/90 2 * * *' is written as '0 2 * * *', which has the same times",
    ),
    "a zone in the schedule": (
        cronjob(schedule="CRON_TZ=Asia/Tokyo 0 3 * * *", timeZone=None),
        "spec.schedule: begins with a time zone, which becomes spec.timeZone: Asia/Tokyo",
    ),
    "an interval": (
        cronjob(schedule="@every 1h30m", timeZone=None),
        "spec.schedule: '@every 1h30m' becomes intervalSeconds: 5400, which counts from the creation of the",
    ),
    "the zone of an interval": (
        cronjob(schedule="@every 1h"),
        "spec.timeZone: names a time zone, which an interval does not have",
    ),
    "a deadline that an interval never meets": (
        cronjob(schedule="@every 1h", timeZone=None, startingDeadlineSeconds=60),
        "a CronJob whose startingDeadlineSeconds (60) is below its interval never runs; the task does",
    ),
    "an interval below a minute": (
        cronjob(schedule="@every 10s", timeZone=None),
        "spec.schedule: a CronJob runs at most once a minute",
    ),
    "a clock that changes by half an hour": (
        cronjob(schedule="0 12 * * *", timeZone="Australia/Lord_Howe"),
        "2026-04-05 02:00 Australia/Lord_Howe the clock changes by a part of an hour: a CronJob may miss",
    ),
    "a clock that changes in the middle of an hour": (
        cronjob(schedule="0 12 * * *", timeZone="Pacific/Chatham"),
        "2026-04-05 03:45 Pacific/Chatham the clock changes in the middle of an hour: a CronJob may miss",
    ),
    "the name of a pod": (
        cronjob({"template": {"metadata": {"name": "pod"}, "spec": POD}}),
        "spec.jobTemplate.spec.template.metadata.name: is left out: pods of a Job do not have it",
    ),
    "who manages the pods": (
        cronjob({"template": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "spec": POD}}),
        "template.metadata.labels[app.kubernetes.io/managed-by]: is left out: Carillon sets it to carillon",
    ),
}


@pytest.mark.parametrize(("made", "want"), DIFFERENCES.values(), ids=DIFFERENCES.keys())
def test_a_difference_is_named_and_the_task_is_printed(terminal: Terminal, made: dict[str, Any], want: str) -> None:
    """Nothing is dropped silently."""
    said = run(terminal, made)
    assert said.code == 0, said.err
    assert want in said.err
    assert said.err.splitlines()[-1].endswith(", the same")
    assert task(said)["kind"] == "ScheduledTask"


PROBLEMS = {
    "a suspended Job": (cronjob({"suspend": True}), "spec.jobTemplate.spec.suspend: cannot be converted: remove it"),
    "a selector": (cronjob({"selector": {}}), "spec.jobTemplate.spec.selector: cannot be converted: remove it"),
    "a selector of one's own": (
        cronjob({"manualSelector": True}),
        "spec.manualSelector: cannot be converted: remove it",
    ),
    "another controller": (cronjob({"managedBy": "a.b/c"}), "spec.jobTemplate.spec.managedBy: cannot be converted"),
    "a finalizer of pods": (
        cronjob({"template": {"metadata": {"finalizers": ["a.b/c"]}, "spec": POD}}),
        "spec.jobTemplate.spec.template.metadata.finalizers: cannot be set in a job's template",
    ),
    "a misspelt field": (cronjob(suspended=True), "spec.suspended: is not a field of a CronJob: remove it or correct"),
    "no deadline at all": (
        cronjob(startingDeadlineSeconds=0),
        "spec.startingDeadlineSeconds: is 0, with which a CronJob",
    ),
    "a schedule of another cron": (
        cronjob(schedule="0 0 L * *"),
        "spec.schedule: cannot be read by a CronJob's controller",
    ),
    "a schedule that never fires": (cronjob(schedule="0 0 30 2 *"), "spec.schedule: '0 0 30 2 *' never fires"),
    "a schedule that is a number": (cronjob(schedule=5), "spec.schedule: must be a text: write it in quotes"),
    "two zones": (
        cronjob(schedule="TZ=UTC 0 0 * * *"),
        "spec.timeZone: is not valid with the time zone in spec.schedule",
    ),
    "an unknown zone": (cronjob(timeZone="Mars/Base"), "spec.timeZone: 'Mars/Base' is not an IANA time zone"),
    "a long interval": (
        cronjob(schedule="@every 9000h"),
        "'@every 9000h' is longer than 366 days: use a cron expression",
    ),
    "no name": (cronjob(metadata={"name": None}), "metadata.name: is required: add it"),
    "a version that is gone": (
        cronjob() | {"apiVersion": "batch/v1beta1"},
        "apiVersion: must be batch/v1 (got 'batch/v1",
    ),
    "no spec": (cronjob() | {"spec": None}, "spec: must be an object"),
}


@pytest.mark.parametrize(("made", "want"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_what_cannot_be_converted_is_named_and_the_others_are_printed(
    terminal: Terminal, made: dict[str, Any], want: str
) -> None:
    """The problem has the path of the CronJob's field, and the exit code is 1."""
    said = run(terminal, made, cronjob(metadata={"name": "good"}))
    assert said.code == 1
    [problem] = [line for line in said.err.splitlines() if "not converted" in line]
    assert "(document 1): not converted: " in problem
    assert want in problem
    assert task(said)["metadata"]["name"] == "good"


def test_differences_at_changes_of_the_clock_are_named_and_do_not_fail(terminal: Terminal) -> None:
    """A CronJob skips the time in the gap, and runs the repeated one twice."""
    said = run(terminal, cronjob(timeZone="Europe/Berlin"))
    assert said.code == 0
    assert said.err.splitlines() == BERLIN_AT_CHANGES


def test_the_zone_of_the_controller_manager_can_be_named(terminal: Terminal) -> None:
    """Without it, UTC is assumed, and said so."""
    made = cronjob(timeZone=None)
    assumed = run(terminal, made)
    assert assumed.err.splitlines()[0].endswith("UTC is assumed, set --time-zone if it is another")
    assert "timeZone" not in task(assumed)["spec"]
    named = run(terminal, made, options=(*FROM, "--time-zone", "Europe/Berlin"))
    assert named.err.splitlines() == BERLIN_AT_CHANGES
    assert task(named)["spec"]["timeZone"] == "Europe/Berlin"


def test_an_interval_of_a_stored_cronjob_keeps_its_times(terminal: Terminal) -> None:
    """It counts from the last run, or from the creation."""
    made = cronjob(schedule="@every 45m", timeZone=None, metadata={"creationTimestamp": "2025-12-31T23:50:00Z"})
    said = run(terminal, made)
    assert task(said)["spec"]["startAt"] == "2026-01-01T00:35:00Z"
    assert said.err.splitlines()[-1] == "default/job: 12,800 fire times in 400 days, the same"
    ran = made | {"status": {"lastScheduleTime": "2026-01-01T00:20:00Z"}}
    assert task(run(terminal, ran))["spec"]["startAt"] == "2026-01-01T01:05:00Z"


def test_a_queue_of_kueue_moves_to_the_task(terminal: Terminal) -> None:
    """Carillon sets its label."""
    made = cronjob()
    made["spec"]["jobTemplate"]["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "night", "team": "a"}}
    said = run(terminal, made)
    assert task(said)["spec"]["queueName"] == "night"
    assert task(said)["spec"]["task"]["job"]["template"]["metadata"] == {"labels": {"team": "a"}}
    assert "becomes spec.queueName" in said.err


def test_a_job_without_labels_keeps_those_of_its_pods(terminal: Terminal) -> None:
    """The API server gives them to the Jobs of the CronJob; it does not to Carillon's, which have labels."""
    pods = {"metadata": {"labels": {"app": "web"}}, "spec": POD}
    assert task(run(terminal, cronjob({"template": pods})))["spec"]["task"]["job"]["template"] == {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"template": pods},
    }
    labelled = cronjob({"template": pods})
    labelled["spec"]["jobTemplate"]["metadata"] = {"labels": {"own": "1"}}
    template = task(run(terminal, labelled))["spec"]["task"]["job"]["template"]
    assert template["metadata"] == {"labels": {"own": "1"}}


def test_the_items_of_lists_are_converted_and_other_kinds_skipped(terminal: Terminal) -> None:
    """A file may have whole applications in it."""
    items = [cronjob(metadata={"name": name}) for name in ("a", "b")]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    said = run(terminal, {"apiVersion": "v1", "kind": "List", "items": items}, service)
    assert said.code == 0
    assert [each["metadata"]["name"] for each in yaml.safe_load_all(said.out)] == ["a", "b"]
    assert said.err.splitlines()[0] == "Service default/web (document 2) skipped: only CronJobs are converted"


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        ((), "name either a FILE or a --namespace, not both"),
        (("jobs.yaml", "--namespace", "prod"), "name either a FILE or a --namespace, not both"),
        (("missing.yaml",), "missing.yaml does not exist: name a YAML file, or - for standard input"),
        (("-", "--time-zone", "Mars/Base"), "--time-zone: 'Mars/Base' is not an IANA time zone"),
        (("-", "--from", "monday"), "--from 'monday' is not a time"),
    ],
)
def test_unusable_input_is_one_sentence(terminal: Terminal, arguments: tuple[str, ...], want: str) -> None:
    """The exit code is 2, and nothing is printed on standard output."""
    said = terminal.run("convert", "cronjob", *arguments, stdin=json.dumps(cronjob()).encode())
    assert (said.code, said.out) == (2, "")
    assert want in said.err
    assert len(said.err.splitlines()) == 1


def test_a_file_without_cronjobs_is_unusable(terminal: Terminal) -> None:
    """The sentence says what the file has."""
    said = run(terminal, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}})
    assert (said.code, said.out) == (2, "")
    assert "has no CronJob, only Service: name a file that has one" in said.err
