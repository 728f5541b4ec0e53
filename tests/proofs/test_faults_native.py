"""The oracle of the CronJob controller, the plans made for it, and the table that counts what it did."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from carillon_core.resources.scheduled_task import parse_spec
from faults.injection import calls
from faults.injection.dialect import CARILLON, CRONJOBS, SLOT_OF_CRONJOB, cronjob_job_name
from faults.injection.director import Blur, Outage
from faults.native.cronjobs import cronjob
from faults.plans import choice
from faults.plans.families import FAMILY_OF, Family, families_of
from faults.plans.plan import POD_FAULTS, Fault, Injection, Plan, Step
from faults.plans.suite import NATIVE, TASKS, WITHOUT_EQUIVALENT
from faults.run import Result
from faults.summary import Line, Summary, read
from faults.tally import Tally
from faults.verdict.cronjobs import decided, settled, violations
from faults.verdict.launches import SECOND
from faults.verdict.pulses import Pulse, parsed, script
from faults.verdict.seen import DOUBLED, LOST, JobSeen, TaskSeen, Violation, World

CREATED = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
NAME, UID = "slow", "0b0c7c1e-3f6f-4a43-9d0e-6a3b1f0f0a01"


def at(minute: int, second: float = 0) -> datetime:
    """Return a time after the CronJob's creation; its slots are at 1, 2 and 3 minutes."""
    return datetime(2026, 3, 2, 12, minute, tzinfo=UTC) + timedelta(seconds=second)


@dataclass(frozen=True)
class Run:
    """A Job of a slot, and the process that ran for it."""

    slot: int
    began: float = 0.3
    """Seconds after the slot."""
    lived: float = 5.0
    """Seconds; 0 if nothing ran."""
    deleted: float = 0.0
    """How many seconds after its start the Job was deleted; 0 if it was not."""

    @property
    def job(self) -> JobSeen:
        """The Job."""
        start = at(self.slot, self.began)
        end = start + timedelta(seconds=self.deleted or self.lived)
        name = cronjob_job_name(NAME, at(self.slot))
        return JobSeen(name, f"uid-{self.slot}-{self.began}", NAME, UID, at(self.slot), start, end, end)

    @property
    def pulses(self) -> list[Pulse]:
        """What the process noted."""
        start = at(self.slot, self.began + 0.2)
        end = start + timedelta(seconds=self.lived)
        return [Pulse(NAME, self.job.name, start, end, finished=True)] if self.lived else []


def world(*runs: Run, policy: str = "Forbid") -> World:
    """Return what was seen of a CronJob that is due every minute."""
    spec = {"schedule": "* * * * *", "concurrencyPolicy": policy, "task": {"container": {"image": "busybox:1.37"}}}
    return World(
        tasks=[TaskSeen(NAME, UID, CREATED, parse_spec(spec, strict=True))],
        until=at(3, 20),
        jobs=[run.job for run in runs],
        rows=(),
        hits={},
        pulses=[pulse for run in runs for pulse in run.pulses],
    )


GOOD = (Run(1), Run(2), Run(3))

CASES: dict[str, tuple[World, Sequence[tuple[str, int]]]] = {
    "each slot has one Job, which ran once": (world(*GOOD), ()),
    "a slot has no Job, and nothing kept the controller": (world(Run(1), Run(3)), [("lost", 2)]),
    "Forbid skips a slot while an execution is active": (world(Run(1, lived=65), Run(3)), ()),
    "Allow has no reason to skip a slot while an execution is active": (
        world(Run(1, lived=65), Run(3), policy="Allow"),
        [("lost", 2)],
    ),
    "an execution that began after the slot is no reason to skip it": (world(Run(1, began=70), Run(3)), [("lost", 2)]),
    "the controller was down until the next slot": (
        replace(world(Run(1), Run(3)), outages=[Outage(at(1, 50), at(3, 2))]),
        (),
    ),
    "the controller was down, but back in time": (
        replace(world(Run(1), Run(3)), outages=[Outage(at(1, 50), at(2, 20))]),
        [("lost", 2)],
    ),
    "the controller saw ends late": (replace(world(Run(1), Run(3)), blurs=[Blur(at(1, 3), at(2, 5))]), ()),
    "a Job never ran anything": (world(Run(1), Run(2, lived=0), Run(3)), [("lost", 2)]),
    "a Job never ran anything, because the plan deleted it": (
        replace(world(Run(1), Run(2, lived=0), Run(3)), disturbed=frozenset({Run(2).job.name})),
        (),
    ),
    "a replaced Job need not have run": (world(Run(1), Run(2, lived=0), Run(3), policy="Replace"), ()),
    "a slot has two Jobs": (world(*GOOD, Run(2, began=20)), [("doubled", 2)]),
    "two processes began for one Job": (
        replace(world(*GOOD), pulses=[p for run in (*GOOD, Run(2, began=20)) for p in run.pulses]),
        [("doubled", 2)],
    ),
    "Forbid starts a Job while another is active: one overlap, seen twice": (
        world(Run(1, lived=80), Run(2), Run(3)),
        [("overlapped", 2)],
    ),
    "Forbid starts a Job while the process of a deleted one lives": (
        world(Run(1, lived=80, deleted=10), Run(2), Run(3)),
        [("overlapped", 2)],
    ),
    "Allow starts a Job while another is active": (world(Run(1, lived=80), Run(2), Run(3), policy="Allow"), ()),
    "Forbid is not promised beside a second controller that sees everything late": (
        replace(world(Run(1, lived=80), Run(2), Run(3)), blurs=[Blur(at(0, 31), None, why=f"{SECOND} is late")]),
        (),
    ),
}


@pytest.mark.parametrize(("seen", "want"), CASES.values(), ids=CASES.keys())
def test_what_is_lost_doubled_or_overlapped(seen: World, want: Sequence[tuple[str, int]]) -> None:
    """Each finding has its kind and its slot, and is told once."""
    found = [(v.kind, v.slot.minute if v.slot else 0) for v in violations(seen)]
    assert found == list(want)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"name": "slow-1"}, "is not this task's"),
        ({"task_uid": "another"}, "is not this task's"),
        ({"seen_at": at(1, -2)}, "was created before its slot"),
        ({"task": "other"}, "belongs to no CronJob"),
    ],
)
def test_a_job_that_should_not_be_there_is_no_finding_but_a_failure(change: dict[str, object], what: str) -> None:
    """Such a Job has no kind, so that the run fails: either the harness is wrong, or the controller in a new way."""
    seen = world(*GOOD)
    strange = replace(seen.jobs[0], **change)  # type: ignore[arg-type]
    found = violations(replace(seen, jobs=[strange, *seen.jobs[1:]]))
    assert any(what in violation.what and not violation.kind for violation in found)


def test_a_plan_waits_for_slots_that_may_still_be_launched() -> None:
    """A slot without a Job is not decided, and a Job that has run nothing is not settled."""
    assert not decided(world(Run(1), Run(2)))
    assert decided(world(Run(1), Run(2), Run(3, lived=0)))
    assert not settled(world(Run(1), Run(2), Run(3, lived=0)))
    assert settled(world(*GOOD))


def _traces(suite_tasks: dict[str, list[str]]) -> dict[str, list[Step]]:
    kinds = ["create-jobs", "update-status", "create-events"]
    kinds += [f"event-{about}" for about in ("cronjobs-added", "cronjobs-changed", "jobs-added", "jobs-ended")]
    kinds += [f"event-pods-{state}" for state in ("added", "running", "ended")]
    return {
        name: [Step(kind, task, nth) for kind in kinds for task in tasks for nth in (1, 2)]
        for name, tasks in suite_tasks.items()
    }


def test_plans_have_every_family_that_the_controller_has_an_equivalent_of_and_no_other() -> None:
    """A few dozen plans cover them; faults at events that it does not watch strike pods and Jobs only."""
    traces = _traces({name: [task.name for task in scene.tasks] for name, scene in NATIVE.scenarios.items()})
    plans = [choice.plan(number, traces, 1, NATIVE) for number in range(60)]
    assert {family for plan in plans for family in families_of(plan)} == set(Family) - set(WITHOUT_EQUIVALENT)
    injections = [injection for plan in plans for injection in plan.injections]
    of_pods = {i.fault for i in injections if i.at is not None and i.at.kind.startswith("event-pods")}
    assert of_pods
    assert of_pods <= POD_FAULTS | {Fault.JOB_DELETED}
    assert all(FAMILY_OF[i.fault] not in WITHOUT_EQUIVALENT for i in injections)
    assert [Plan.parse(str(plan), plan.number, NATIVE.scenarios) for plan in plans] == plans
    with pytest.raises(ValueError, match="not a scenario"):
        Plan.parse(str(plans[0]), scenarios=TASKS.scenarios)


def test_a_cronjob_does_what_its_task_does(tmp_path: Path) -> None:
    """Its slots, its policy and its script are the task's; a failed pod is not replaced, and no grace is too short."""
    task = next(task for task in NATIVE.scenarios["cron-grace"].tasks if task.name == "stubborn")
    made = cronjob(task, str(tmp_path / "pulses"))
    spec, job = made["spec"], made["spec"]["jobTemplate"]["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("* * * * *", "Forbid")
    assert "task" not in spec
    assert (job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == (0, "Never")
    container = job["template"]["spec"]["containers"][0]
    assert container["command"] == task.spec["task"]["container"]["command"]
    assert {"name": "PULSES", "value": str(tmp_path / "pulses")} in container["env"]


def test_a_process_notes_its_life_for_its_job(tmp_path: Path) -> None:
    """The script of a CronJob's container is read as one process of one Job, which came to its end."""
    noted = tmp_path / "pulses"
    environment = {"PATH": "/usr/bin:/bin", "CARILLON_TASK_NAME": NAME, "CARILLON_JOB_NAME": "j", "PULSES": str(noted)}
    subprocess.run(["sh", "-c", script(2, 0.01, stubborn=False)], env=environment, check=True)
    (pulse,) = parsed(noted.read_text())
    assert (pulse.task, pulse.job, pulse.finished) == (NAME, "j", True)
    assert pulse.first < pulse.last


def test_steps_are_named_alike_for_both_schedulers() -> None:
    """The proxies find the CronJob, or the task, that a write or an event is about."""
    job = f"/apis/batch/v1/namespaces/n/jobs/{cronjob_job_name(NAME, at(1))}"
    status = "/apis/batch/v1/namespaces/n/cronjobs/slow/status"
    assert calls.confined("/apis/batch/v1/cronjobs", "n") == "/apis/batch/v1/namespaces/n/cronjobs"
    assert calls.write_of("PUT", status, {}) == ("update-status", NAME)
    assert calls.write_of("DELETE", job, {}) == ("delete-jobs", NAME)
    changed = {"type": "MODIFIED", "object": {"metadata": {"name": NAME}}}
    assert calls.event_of("cronjobs", changed) == ("event-cronjobs-changed", NAME)


def test_a_job_tells_its_cronjob_and_its_slot() -> None:
    """The owner reference counts, as it does for the controller; a Job of nobody, or of another owner, is ignored."""
    owner = {"kind": "CronJob", "name": NAME, "uid": UID, "controller": True}
    meta = {"annotations": {SLOT_OF_CRONJOB: "2026-03-02T12:01:00Z"}, "ownerReferences": [owner]}
    assert CRONJOBS.launched(meta) == (NAME, UID, at(1))
    assert CRONJOBS.launched(meta | {"ownerReferences": [owner | {"kind": "ReplicaSet"}]}) is None
    assert CRONJOBS.launched(meta | {"ownerReferences": []}) is None
    assert CARILLON.launched(meta) is None


def test_the_table_counts_slots_by_what_became_of_them() -> None:
    """Each family has the sums of its plans; a suite without such kinds has no such columns."""
    line = Line(1, 0, "p", ["kill-after"], ["operator"], ["x"], 9, 8, 0, 60.0, kinds={"overlapped": 2, "lost": 1})
    other = replace(line, number=1, violations=[], kinds={})
    told = str(Summary.of(1, [line, other], NATIVE.findings)).splitlines()
    assert "| Family | Plans | With violations | Lost | Doubled | Overlapped | Plans a minute in one lane |" in told
    assert "| operator | 2 | 1 | 1 | 0 | 2 | 1.0 |" in told
    assert "| operator | 2 | 1 | 1.0 |" in str(Summary.of(1, [line, other], TASKS.findings)).splitlines()
    assert Line.parse(str(line)) == line


def test_a_result_is_read_back_with_what_it_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is continued adds to the counts of the earlier one; what the suite only counts does not fail it."""
    lost, doubled = (Violation(NAME, at(2), "lost: it", kind) for kind in (LOST, DOUBLED))
    plan = Plan(0, "cron", (Injection(Fault.KILL_AFTER, Step("create-jobs", NAME, 1)),))
    record = tmp_path / "results.jsonl"
    monkeypatch.setattr("faults.tally.FOLDER", tmp_path)
    tally = Tally(1, 1, record, NATIVE)
    tally.add(Result(plan, [], list(plan.injections), [lost, lost, doubled], slots=8))
    counted = tally.broken
    (line,) = read(record)
    assert (line.kinds, line.slots, line.families) == ({LOST: 2, DOUBLED: 1}, 8, ["operator"])
    tally.add(Result(replace(plan, number=1), [], list(plan.injections), [Violation(NAME, None, "strange")]))
    assert (counted, tally.broken) == (False, True)
    ours = Tally(1, 1)
    ours.add(Result(plan, [], list(plan.injections), [lost]))
    assert ours.broken
