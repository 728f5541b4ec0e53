"""``carillon next`` and ``carillon explain`` as a user calls them."""

from pathlib import Path

import pytest

from carillon_cli.reference import reference
from support.terminal import Terminal

ROOT = Path(__file__).parents[3]
TASK = """\
apiVersion: carillon.dev/v1alpha1
kind: ScheduledTask
metadata: {name: backup, namespace: prod}
spec: {schedule: "0 2 * * *", timeZone: Europe/Berlin, task: {sum: {a: 1, b: 2}}}
"""
REQUEST = """\
apiVersion: carillon.dev/v1alpha1
kind: RunRequest
metadata: {name: once}
spec: {taskRef: {name: backup}, runAt: 2027-01-01T00:00:00Z}
"""
BROKEN = """\
apiVersion: carillon.dev/v1alpha1
kind: ScheduledTask
metadata: {name: broken}
spec: {schedule: "61 * * * *", paused: true, task: {http: {url: "https://example.com/", body: "{{ slto }}"}}}
"""
STORED = """\
apiVersion: v1
kind: List
items:
- apiVersion: carillon.dev/v1alpha1
  kind: ScheduledTask
  metadata:
    name: backup
    namespace: prod
    uid: 6f9619ff-8b86-4011-b42d-00c04fc964ff
    creationTimestamp: "2026-01-01T00:00:00Z"
    generation: 1
  spec: {intervalSeconds: 3600, task: {sum: {a: 1, b: 2}}}
  status: {settledUntil: "2026-01-01T01:00:00Z", schedule: every 3600s}
"""
JOB = """\
- apiVersion: batch/v1
  kind: Job
  metadata:
    name: backup-1767229200
    namespace: prod
    uid: 11111111-8b86-4011-b42d-00c04fc964ff
    labels: {carillon.dev/task: backup, carillon.dev/task-uid: 6f9619ff-8b86-4011-b42d-00c04fc964ff}
    annotations: {carillon.dev/slot: "2026-01-01T01:00:00Z"}
    ownerReferences:
    - {kind: ScheduledTask, name: backup, uid: 6f9619ff-8b86-4011-b42d-00c04fc964ff, controller: true}
"""


def test_next_prints_utc_and_the_zones_clock(terminal: Terminal) -> None:
    """There are always two columns; a time in the gap fires after the gap."""
    said = terminal.run("next", "30 2 * * *", "-z", "Europe/Berlin", "--after", "2026-03-28T00:00:00Z", "-n", "2")
    assert said.code == 0
    assert said.out.splitlines() == [
        "2026-03-28T01:30:00Z  2026-03-28T02:30:00+01:00",
        "2026-03-29T01:00:00Z  2026-03-29T03:00:00+02:00",
    ]


def test_next_prints_five_times_in_utc_by_default(terminal: Terminal) -> None:
    """Without a zone, both columns are UTC."""
    lines = terminal.run("next", "@hourly", "--after", "2026-01-01T00:00:00+00:00").out.splitlines()
    assert len(lines) == 5
    assert lines[0] == "2026-01-01T01:00:00Z  2026-01-01T01:00:00+00:00"


def test_next_of_a_file_names_each_object(terminal: Terminal) -> None:
    """Each document is listed under its name; other kinds are ignored."""
    file = terminal.file(f"{TASK}---\nkind: ConfigMap\napiVersion: v1\n---\n{REQUEST}")
    said = terminal.run("next", file, "-n", "1", "--after", "2026-06-01T00:00:00Z")
    assert said.code == 0
    assert said.out.splitlines() == [
        "# prod/backup",
        "2026-06-02T00:00:00Z  2026-06-02T02:00:00+02:00",
        "# default/once",
        "2027-01-01T00:00:00Z  2027-01-01T00:00:00+00:00",
    ]


def test_next_of_a_file_shows_the_sound_and_names_the_broken(terminal: Terminal) -> None:
    """The exit code shows that something is invalid; valid tasks have their times."""
    said = terminal.run("next", "-", "-n", "1", stdin=f"{BROKEN}---\n{TASK}".encode())
    assert said.code == 2
    assert said.out.startswith("# prod/backup\n20")
    assert "document 1, default/broken: spec.schedule: '61 * * * *' is not a cron expression" in said.err


def test_next_says_what_may_surprise_on_the_standard_error(terminal: Terminal) -> None:
    """Standard output remains a list of times."""
    said = terminal.run("next", "0 0 13 * 5", "-n", "1")
    assert len(said.out.splitlines()) == 1
    assert said.err.startswith("note: runs on days that match either day of month 13 or day of week 5")


def test_explain_says_the_plan_of_a_task_as_if_created_now(terminal: Terminal) -> None:
    """The output can be understood without knowing the code."""
    said = terminal.run("explain", terminal.file(TASK), "--at", "2026-06-01T00:00:00Z")
    assert said.code == 0
    assert said.out.splitlines()[0] == "ScheduledTask prod/backup (document 1)"
    assert "  in words    at 02:00 every day, Europe/Berlin time\n" in said.out
    assert "  plan        launch nothing now, record nothing\n" in said.out
    assert "  next slot   2026-06-02T00:00:00Z  2026-06-02T02:00:00+02:00\n" in said.out
    assert "as if created then" in said.out


def test_explain_takes_the_status_and_the_jobs_of_the_file(terminal: Terminal) -> None:
    """The decision is the operator's: an active Job stops the slot, and the verdict says so."""
    without = terminal.run("explain", terminal.file(STORED), "--at", "2026-01-01T02:00:05Z")
    assert "launch the slot of 2026-01-01T02:00:00Z as Job backup-1767232800" in without.out
    with_job = terminal.run("explain", terminal.file(STORED + JOB), "--at", "2026-01-01T02:00:05Z")
    assert "active: backup-1767229200" in with_job.out
    assert "record as skipped, StillActive: the slot of 2026-01-01T02:00:00Z was skipped" in with_job.out
    assert "launch the slot" not in with_job.out


def test_explain_names_every_problem_with_its_field_and_its_document(terminal: Terminal) -> None:
    """An unknown field does not hide other problems."""
    said = terminal.run("explain", terminal.file(f"{TASK}---\n{BROKEN}"))
    assert said.code == 1
    assert "ScheduledTask default/broken (document 2)" in said.out
    for field in ("spec.paused: is an unknown field", "spec.schedule: '61 * * * *'", "spec.task.http.body: reads slto"):
        assert f"  invalid     {field}" in said.out


STRICT = {
    "a number in quotes": (
        'intervalSeconds: "5"',
        "spec.intervalSeconds: must be a whole number: write it without quotes",
    ),
    "a truth in quotes": ('suspend: "true"', "spec.suspend: must be true or false: write it without quotes"),
    "snake case": ("interval_seconds: 5", "spec.interval_seconds: is an unknown field: did you mean interval"),
}


@pytest.mark.parametrize(("field", "want"), STRICT.values(), ids=STRICT)
def test_explain_refuses_what_the_api_server_refuses(terminal: Terminal, field: str, want: str) -> None:
    """It used to read a number in quotes, and then kubectl could not apply the file."""
    said = terminal.run("explain", terminal.file(TASK.replace('schedule: "0 2 * * *"', field)))
    assert said.code == 1
    assert want in " ".join(said.out.split())


def test_an_unknown_field_of_any_kind_hides_nothing_else(terminal: Terminal) -> None:
    """All problems are told at once."""
    request = REQUEST.replace("taskRef: {name: backup}", 'task: {http: {url: "http://a:0/"}}, taskref: x')
    target = (
        'apiVersion: carillon.dev/v1alpha1\nkind: HTTPTarget\nmetadata: {name: a}\nspec: {url: "http://127.1/", x: 1}\n'
    )
    said = terminal.run("explain", terminal.file(f"{request}---\n{target}"))
    for want in (
        "spec.taskref: is an unknown field",
        "spec.task.http.url: has the invalid port 0",
        "spec.x: is an unknown field",
        "spec.url: has a number",
    ):
        assert f"  invalid     {want}" in said.out


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_explain_finds_nothing_wrong_with_the_examples(terminal: Terminal, example: Path) -> None:
    """The examples in the README are valid."""
    assert terminal.run("explain", str(example)).code == 0


UNUSABLE = {
    "a file that is not there": (["explain", "absent.yaml"], "absent.yaml does not exist"),
    "a folder": (["explain", "."], ". cannot be read: Is a directory"),
    "an expression that is none": (["next", "61 * * * *"], "'61 * * * *' is not a cron expression: correct its minute"),
    "an empty expression": (["next", ""], "the expression is empty: write five fields, such as '0 2 * * *'"),
    "an expression of spaces": (["next", "  "], "the expression is empty"),
    "an empty name of a file": (["explain", ""], "the name of the file is empty: name a YAML file, or -"),
    "a misspelt zone": (["next", "@daily", "-z", "Europe/Berln"], "time zone: did you mean Europe/Berlin?"),
    "one word": (["next", "often"], "'often' has 1 fields: write five"),
    "an expression without end": (
        ["next", "* " * 500],
        "schedule must have at most 256 characters (got 1000): shorten it",
    ),
    "a zone that is none": (["next", "@daily", "-z", "Mars/Base"], "'Mars/Base' is not an IANA time zone"),
    "a zone for a file": (["next", "-", "-z", "UTC"], "--time-zone only applies to an expression"),
    "no times": (["next", "@daily", "-n", "0"], "-n: must be from 1 to 10000 (got 0)"),
    "too many times": (["next", "@daily", "-n", "99999999999999999999"], "must be from 1 to 10000"),
    "a number that is none": (["next", "@daily", "-n", "many"], "Invalid value for '-n'"),
    "a time that is none": (["next", "@daily", "--after", "tomorrow"], "--after 'tomorrow' is not a time"),
    "a time without a zone": (["explain", "-", "--at", "2026-01-01T00:00:00"], "has no time zone: write"),
    "a time beyond the calendar": (["next", "@daily", "--after", "9999-12-31T23:59:59-05:00"], "is not a time"),
    "a time too far away": (["next", "@daily", "--after", "9999-01-01T00:00:00Z"], "is out of range"),
    "an option that there is not": (["next", "--often"], "No such option: --often"),
    "a command that there is not": (["run"], "No such command 'run'"),
    "nothing to look at": (["next"], "Missing argument"),
}


@pytest.mark.parametrize(("arguments", "want"), UNUSABLE.values(), ids=UNUSABLE)
def test_input_that_cannot_be_used_is_one_sentence(terminal: Terminal, arguments: list[str], want: str) -> None:
    """The exit code is 2, standard output is empty, and there is no traceback."""
    said = terminal.run(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("carillon: ")
    assert said.err.count("\n") == 1
    assert want in said.err


@pytest.mark.parametrize("command", ["next", "explain"])
@pytest.mark.parametrize(
    ("text", "want"),
    {
        b"\x80\x00\xff": "is not UTF-8 text",
        b"a\x00b": "is not YAML",
        b"": "is empty",
        b"---\n---\n": "is empty",
        b"a: [1\nb": "is not YAML: line",
        b"- 1\n": "is not a Kubernetes object: kind is missing",
        b"kind: 7\n": "is not a Kubernetes object",
        b"kind: ConfigMap\napiVersion: v1\n": "only ConfigMap",
        b"kind: ScheduledTask\napiVersion: carillon.dev/v9\n": "write apiVersion: carillon.dev/v1alpha1",
        b"kind: ScheduledTask\napiVersion: carillon.dev/v1alpha1\nmetadata: [1]\n": "metadata that is not an object",
        b"[" * 5000: "is not YAML",
        b"? [a]\n: b\n": "is not YAML",
        b"a: &a [*a]": "is not a Kubernetes object",
    }.items(),
)
def test_a_file_that_cannot_be_used_is_one_sentence(terminal: Terminal, command: str, text: bytes, want: str) -> None:
    """This holds for any bytes."""
    said = terminal.run(command, terminal.file(text))
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert want in said.err


@pytest.mark.parametrize(
    ("metadata", "want"),
    {
        "{}": "metadata.name: is required: add it",
        "{name: 7}": "metadata.name: must be a string: write it in quotes",
        f"{{name: {'a' * 53}}}": "metadata.name: must be at most 52 characters long (got 53)",
        "{name: a, creationTimestamp: yesterday}": "metadata.creationTimestamp: is not a date and time",
        "{name: a, labels: 7}": "metadata.labels: must be an object",
        "{name: [a]}": "metadata.name: must be a string: write it in quotes",
    }.items(),
)
def test_metadata_that_cannot_be_is_a_problem_of_its_field(terminal: Terminal, metadata: str, want: str) -> None:
    """Unexpected metadata does not cause a traceback."""
    text = TASK.replace("{name: backup, namespace: prod}", metadata)
    said = terminal.run("explain", terminal.file(text))
    assert said.code == 1
    assert want in said.out


def test_help_is_shown_for_nothing_at_all(terminal: Terminal) -> None:
    """``carillon`` without arguments prints its help."""
    assert "explain" in terminal.run().out
    assert terminal.run("--version").out.strip()


def test_the_reference_is_what_the_commands_say() -> None:
    """The page in docs/ is up to date, byte for byte; ``make manifests`` writes it."""
    found = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert found == reference(), "run: python -m carillon_cli.reference --output docs/cli.md"


def test_explain_takes_a_target_from_the_file_or_as_there(terminal: Terminal) -> None:
    """A target that is not in the file may be in the cluster: the output says so, and assumes nothing else."""
    task = TASK.replace("sum: {a: 1, b: 2}", "http: {targetRef: {name: hook}}")
    said = terminal.run("explain", terminal.file(task))
    assert "HTTPTarget prod/hook is not in the file" in said.out
    assert "TargetNotFound" not in said.out


@pytest.mark.parametrize(
    "text",
    [
        TASK.replace("sum: {a: 1, b: 2}", "http: {url: http://10.0.0.1/}"),
        REQUEST.replace("taskRef: {name: backup}", "task: {http: {url: http://10.0.0.1/}}"),
        "apiVersion: carillon.dev/v1alpha1\nkind: HTTPTarget\nmetadata: {name: a}\nspec: {url: http://10.0.0.1/}\n",
    ],
    ids=["task", "request", "target"],
)
def test_explain_warns_of_a_url_that_leads_inward(terminal: Terminal, text: str) -> None:
    """The operator's allow-list is not known here, and the warning says so."""
    said = terminal.run("explain", terminal.file(text))
    assert said.code == 0
    words = " ".join(said.out.split())
    assert "url: 10.0.0.1 is in 10.0.0.0/8 (private use, RFC 1918), which is not allowed for HTTP tasks" in words
    assert "(the setting is not known here)" in words
