"""Problems and warnings before anything is stored."""

import json
import tracemalloc
from typing import Any

import pytest

from carillon_core.domain.egress.rules import CLOSED, AllowList, parse_allow_list
from carillon_core.domain.validity.advice import advice_of, warnings_of
from carillon_core.domain.validity.problems import spec_problems
from carillon_core.domain.validity.review import Review, review_of
from carillon_core.domain.validity.template_syntax import template_problems
from carillon_core.resources.names import ANNOTATION_APPLIED
from carillon_core.resources.scheduled_task import ScheduledTaskSpec, parse_spec
from support.builders import at

NOW = at("2026-01-01T12:00:00+00:00")
SUM = {"sum": {"a": 1, "b": 2}}


def spec_of(**fields: Any) -> ScheduledTaskSpec:
    """Build a spec, with a sum task by default."""
    return parse_spec({"task": SUM} | fields, strict=True)


def test_the_next_times_are_shown_in_utc_and_local() -> None:
    """There are three; the local time is in parentheses."""
    first, *clock = warnings_of(spec_of(schedule="0 2 * * *", timeZone="Europe/Berlin"), NOW)
    assert first == (
        "runs next at 2026-01-02T01:00:00Z (2026-01-02T02:00:00+01:00), "
        "2026-01-03T01:00:00Z (2026-01-03T02:00:00+01:00), 2026-01-04T01:00:00Z (2026-01-04T02:00:00+01:00)"
    )
    assert [said[:13] for said in clock] == ["on 2026-03-29", "on 2026-10-25"]
    assert warnings_of(spec_of(runAt="2027-01-01T00:00:00Z"), NOW) == ["runs next at 2027-01-01T00:00:00Z"]


ADVICE: dict[str, tuple[dict[str, Any], str]] = {
    "both days": ({"schedule": "0 0 13 * 5"}, "as in cron; a day need not match both"),
    "days that Debian's cron takes otherwise": (
        {"schedule": "0 0 */10 * Mon"},
        "runs on days that match either day of month */10 or day of week Mon, as a CronJob does; Debian's",
    ),
    "a star that Debian's cron overlooks": (
        {"schedule": "0 0 1,* * Mon"},
        "runs on days that match both day of month 1,* and day of week Mon, as a CronJob does; Debian's cron runs",
    ),
    "a day that not every month has": ({"schedule": "0 0 31 * *"}, "does not run in months without day 31"),
    "a day that not every month of the expression has": (
        {"schedule": "0 0 31 3,4,6 *"},
        "does not run in Apr and Jun, which have no day 31; write L for the last day of the month",
    ),
    "a day that several months of the expression do not have": (
        {"schedule": "0 0 31 3,4,6,9,11 *"},
        "does not run in Apr, Jun, Sep and Nov, which have no day 31; write L for the last day of the month",
    ),
    "a day of leap years": ({"schedule": "0 0 29 2 *"}, "runs only in leap years, when that month has a day 29"),
    "a day of leap years, and of another month": (
        {"schedule": "0 0 29 2,3 *"},
        "runs in February only in leap years, when that month has a day 29",
    ),
    "a zone of a fixed offset": ({"schedule": "@daily", "timeZone": "EST"}, "spec.timeZone: EST is UTC-05:00 all year"),
    "a zone with an inverted sign": (
        {"schedule": "@daily", "timeZone": "Etc/GMT+5"},
        "spec.timeZone: Etc/GMT+5 is UTC-05:00 all year: the signs",
    ),
    "a variable twice": (
        {
            "schedule": "@daily",
            "task": {"container": {"image": "a", "env": [{"name": "A"}, {"name": "B"}, {"name": "A"}]}},
        },
        "spec.task.container.env: sets A more than once; only the last value is used: remove",
    ),
    "a parameter that no slot has": (
        {"schedule": "@daily", "task": {"http": {"url": "https://a/{{ parameters.x }}", "body": "{{ parameters.y }}"}}},
        "spec.task.http.body: reads parameters.y; scheduled runs have no parameters, so they fail: add | default('.",
    ),
    "a password in a URL": (
        {"schedule": "@daily", "task": {"http": {"url": "https://me:hunter2@example.com/"}}},
        "spec.task.http.url: contains a password, visible to everyone who can read the object",
    ),
    "a time that is past": (
        {"runAt": "2026-01-01T00:00:00Z"},
        "will never run: spec.runAt: must be in the future (got",
    ),
    "suspended": ({"schedule": "@hourly", "suspend": True}, "is suspended: no slots are launched"),
    "a sleep longer than the way to the next slot": (
        {"intervalSeconds": 5, "task": {"sleep": {"durationSeconds": 7}}},
        "sleeps 7 s, but slots are only 5 s apart",
    ),
    "a time-out longer than the way to the next slot": (
        {"schedule": "*/5 * * * *", "timeoutSeconds": 600},
        "may run for timeoutSeconds=600, but slots are only 300 s apart",
    ),
    "a jitter beyond the next slot": (
        {"intervalSeconds": 60, "jitterSeconds": 60},
        "spec.jitterSeconds: 60 may delay a launch past the next slot; set less than 60",
    ),
    "a sleep that times out": (
        {"schedule": "@daily", "task": {"sleep": {"durationSeconds": 3600}}},
        "ends after timeoutSeconds=3600: every run will time out",
    ),
    "an attempt longer than all": (
        {"schedule": "@daily", "retry": {"attemptTimeoutSeconds": 3600}},
        "spec.retry.attemptTimeoutSeconds: 3600 has no effect",
    ),
    "waits longer than all": (
        {"schedule": "@daily", "timeoutSeconds": 60, "retry": {"limit": 3}},
        "spec.retry: the waits between 4 attempts may take 70 s",
    ),
}


@pytest.mark.parametrize(("fields", "want"), ADVICE.values(), ids=ADVICE)
def test_what_may_surprise_is_said(fields: dict[str, Any], want: str) -> None:
    """Each warning is one sentence with the relevant number."""
    assert [w for w in warnings_of(spec_of(**fields), NOW) if want in w]


SOUND: dict[str, dict[str, Any]] = {
    "the default time-out": {"schedule": "*/5 * * * *"},
    "overlap allowed": {"schedule": "*/5 * * * *", "timeoutSeconds": 600, "concurrencyPolicy": "Allow"},
    "one day field": {"schedule": "0 0 * * 5"},
    "the last day": {"schedule": "0 0 L * *"},
    "a day that the only month has": {"schedule": "30 2 29 3 *"},
    "a day that each of the months has": {"schedule": "30 2 31 1,3,5 *"},
    "a jitter that ends before the next slot": {"schedule": "*/5 * * * *", "jitterSeconds": 299},
    "a parameter with a default": {
        "schedule": "@daily",
        "task": {"http": {"url": "https://a/{{ parameters.x | default(1) }}"}},
    },
    "a zone of a place": {"schedule": "0 12 1 1 *", "timeZone": "Asia/Tokyo"},
    "waits that fit": {"schedule": "@daily", "retry": {"limit": 3}},
}


@pytest.mark.parametrize("fields", SOUND.values(), ids=SOUND)
def test_what_is_usual_is_not_warned_of(fields: dict[str, Any]) -> None:
    """Nobody would read a warning that always appears."""
    (only,) = warnings_of(spec_of(**fields), NOW)
    assert only.startswith("runs next at ")


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        (
            {"endAt": "2026-06-01T00:00:00Z"},
            "spec.endAt: must not be before the first slot, 2027-01-01",
        ),
        ({"durationSeconds": 60}, "spec.durationSeconds: must be at least 31492800 to reach the first slot (got 60)"),
        ({"endAt": "2027-01-01T00:00:00Z"}, None),
        ({"startAt": "2027-01-01T00:00:00Z", "durationSeconds": 1}, None),
    ],
)
def test_a_calendar_that_ends_before_its_first_slot_is_refused(fields: dict[str, Any], want: str | None) -> None:
    """Both the end and the start may be slots."""
    problems = [str(p) for p in spec_problems(spec_of(schedule="@yearly", **fields), NOW)]
    assert (problems == []) if want is None else problems[0].startswith(want)


def test_a_calendar_that_has_ended_may_stay() -> None:
    """A completed task can still be edited, but not its calendar."""
    stored = spec_of(schedule="@yearly", endAt="2025-06-01T00:00:00Z")
    assert spec_problems(stored.model_copy(update={"timeout_seconds": 5}), NOW, stored) == ()
    assert spec_problems(spec_of(schedule="@monthly", endAt="2025-06-01T00:00:00Z"), NOW, stored)


@pytest.mark.parametrize(
    ("text", "want"),
    {
        "": None,
        "plain {braces}": None,
        "{{ slot }} {{ parameters.a }} {% for k in range(3) %}{{ k }}{% endfor %}": None,
        "{{ slto }}": "reads slto, which are not template variables: use slot, local_slot",
        "{{ slot": "is not a valid template: unexpected end of template",
        "{% include 'x' %}{% if %}": "is not a valid template: Expected an expression",
        "{{ slot | nonesuch }}": "is not a valid template: No filter named 'nonesuch'",
        "{{ slot is nonesuch }}": "is not a valid template: No test named 'nonesuch'",
        "{{ " + "1" * 5000 + " }}": "is not a valid template: it has a number that is too long",
    }.items(),
)
def test_a_template_is_read_before_it_is_needed(text: str, want: str | None) -> None:
    """Syntax, filters and names are checked; nothing is rendered."""
    problems = template_problems([("spec.body", text)])
    assert (problems == ()) if want is None else problems[0].message.startswith(want)


ENDLESS = ["{{ 9**(9**9) }}", "{{ -(9**(9**9)) | abs }}", "{% autoescape 9**(9**9) %}{% endautoescape %}"]


@pytest.mark.parametrize("text", ENDLESS)
def test_a_template_is_read_without_computing_anything(text: str) -> None:
    """The checking process serves other users, too; only the runner's child process, which has limits, renders."""
    assert template_problems([("spec.body", text)]) == ()


def test_a_filter_is_not_applied_to_what_is_constant() -> None:
    """It would have produced ten million characters."""
    text = "{{ 'a' | center(10000000) }}"
    template_problems([("spec.body", text)])
    tracemalloc.start()
    try:
        assert template_problems([("spec.body", text)]) == ()
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def reviewed(kind: str, spec: Any, old: Any = None) -> Review:
    """Review an object with this spec."""
    before = None if old is None else {"metadata": {"name": "x"}, "spec": old}
    return review_of(kind, {"metadata": {"name": "x"}, "spec": spec}, before, NOW)


@pytest.mark.parametrize(
    ("kind", "spec", "want"),
    [
        ("ScheduledTask", {"schedule": "61 * * * *", "task": SUM}, "spec.schedule: '61 * * * *' is not a cron"),
        ("ScheduledTask", {"task": SUM}, "spec: must set exactly one of"),
        ("ScheduledTask", None, "spec: "),
        ("HTTPTarget", {"url": "https://x/", "headers": [{"name": "a", "value": "{{ b }}"}]}, "spec.headers[0].value:"),
        ("RunRequest", {"task": {"http": {"url": "https://x/{{ y }}"}}}, "spec.task.http.url: reads y"),
        ("HTTPTarget", {"url": "https://x/", "body": "\0"}, "spec.body: must not contain a NUL character: remove it"),
        (
            "RunRequest",
            {"taskRef": {"name": "a"}, "parameters": {"a": ["\0"]}},
            "spec.parameters.a[0]: must not contain",
        ),
        ("HTTPTarget", {"url": "https://x:0/"}, "spec.url: has the invalid port 0"),
        (
            "ScheduledTask",
            {"schedule": "@daily", "timeZone": "Berlin", "task": SUM},
            "spec.timeZone: 'Berlin' is not an",
        ),
        (
            "RunRequest",
            {"task": SUM, "runAt": "2020-01-01T00:00:00Z"},
            "spec.runAt: must not be more than a day before",
        ),
    ],
)
def test_a_bad_object_is_refused_with_its_field(kind: str, spec: Any, want: str) -> None:
    """This holds for all kinds."""
    review = reviewed(kind, spec)
    assert str(review.problems[0]).startswith(want)
    assert review.warnings == ()


def applied(spec: Any, stored: Any, before: Any = None) -> Review:
    """Review a task that ``kubectl apply`` was given with a spec, of which the API server has dropped some fields."""

    def task(given: Any, kept: Any) -> dict[str, Any]:
        text = given if isinstance(given, str) else json.dumps({"metadata": {"name": "x"}, "spec": given})
        return {"metadata": {"name": "x", "annotations": {ANNOTATION_APPLIED: text}}, "spec": kept}

    return review_of("ScheduledTask", task(spec, stored), None if before is None else task(before, stored), NOW)


STORED = {"schedule": "@daily", "task": SUM}


def test_a_field_that_the_api_server_has_dropped_is_warned_of() -> None:
    """With kubectl's validation off, nobody else would say so, even if it was the only change."""
    given = {**STORED, "timezone": "Europe/Berlin"}
    want = "spec.timezone: was dropped by the API server because it is an unknown field: did you mean timeZone?"
    assert applied(given, STORED).warnings[0] == want
    assert applied(given, STORED, STORED).warnings == (want,)
    assert applied(given, {"task": SUM}).warnings == (want,)
    assert applied(given, {"task": SUM}).problems


@pytest.mark.parametrize("before", [None, STORED])
@pytest.mark.parametrize("given", ["", "{", "[]", '{"spec": []}', "7", "[" * 100_000, {"schedule": 5}, STORED])
def test_an_annotation_that_cannot_be_read_says_nothing(given: Any, before: Any) -> None:
    """Anybody can write the annotation; only an unknown field in it is of interest."""
    assert not [said for said in applied(given, STORED, before).warnings if "dropped" in said]


def test_what_was_applied_before_is_not_warned_of_again() -> None:
    """An edit by other means leaves the annotation."""
    given = {**STORED, "timezone": "Europe/Berlin"}
    assert applied(given, STORED, given).warnings == ()


def test_ten_thousand_dropped_fields_are_ten_warnings() -> None:
    """The API server would cut more."""
    given = {**STORED, **{f"shedule{number}": 1 for number in range(10_000)}}
    assert len(applied(given, STORED, STORED).warnings) == 10


PASSWORD = {"url": "https://me:hunter2@example.com/"}


@pytest.mark.parametrize(
    ("kind", "spec", "want"),
    [
        ("HTTPTarget", PASSWORD, "x: spec.url: contains a password"),
        ("RunRequest", {"task": {"http": PASSWORD}}, "x: spec.task.http.url: contains a password"),
    ],
)
def test_a_password_is_warned_of_in_every_kind(kind: str, spec: Any, want: str) -> None:
    """The webhook's warning does not repeat it."""
    (said,) = reviewed(kind, spec).warnings
    assert said.startswith(want)
    assert "hunter2" not in said


def test_a_day_of_the_week_makes_up_for_a_day_that_a_month_has_not() -> None:
    """Either day is enough, so that it runs in every month."""
    assert not [w for w in warnings_of(spec_of(schedule="0 0 31 * 1"), NOW) if "does not run" in w]


INWARD = {"url": "http://10.0.0.1/"}


@pytest.mark.parametrize(
    ("kind", "spec", "want"),
    [
        ("ScheduledTask", {"intervalSeconds": 60, "task": {"http": INWARD}}, "x: spec.task.http.url: 10.0.0.1 is in"),
        ("RunRequest", {"task": {"http": INWARD}}, "x: spec.task.http.url: 10.0.0.1 is in"),
        ("HTTPTarget", INWARD, "x: spec.url: 10.0.0.1 is in 10.0.0.0/8 (private use"),
        ("HTTPTarget", {"url": "http://db.shop.svc/"}, "x: spec.url: db.shop.svc is the name of a Service"),
    ],
)
def test_a_url_that_leads_inward_is_warned_of(kind: str, spec: Any, want: str) -> None:
    """It is not rejected, because the runner decides by its Job's list; if the list opens it, there is no warning."""

    def said(allow: AllowList | None) -> list[str]:
        review = review_of(kind, {"metadata": {"name": "x"}, "spec": spec}, None, NOW, allow)
        assert review.problems == ()
        return [warning for warning in review.warnings if "url: " in warning]

    assert [warning.startswith(want) for warning in said(CLOSED)] == [True]
    assert said(parse_allow_list("10.0.0.0/8")) == []
    assert ["is not known here" in warning for warning in said(None)] == ([True] if "Service" not in want else [])


def test_an_unknown_time_out_of_a_target_is_not_guessed() -> None:
    """The waits of a retry policy are compared with a known time limit only."""
    retry = {"limit": 10, "initialDelaySeconds": 600, "maxDelaySeconds": 600}

    def told(http: dict[str, Any], **more: Any) -> bool:
        spec = parse_spec({"intervalSeconds": 86_400, "task": {"http": http}, "retry": retry, **more}, strict=True)
        return any("spec.retry" in line for line in advice_of(spec, NOW, NOW))

    assert told({"url": "https://example.com/"})
    assert not told({"targetRef": {"name": "shop"}})
    assert told({"targetRef": {"name": "shop"}}, timeoutSeconds=60)


def test_a_change_that_leaves_the_spec_is_nobodys_business() -> None:
    """An object older than a rule can be labelled; a change of its spec must fix it."""
    broken = {"schedule": "61 * * * *", "task": SUM}
    assert reviewed("ScheduledTask", broken, broken) == Review()
    assert reviewed("ScheduledTask", {**broken, "suspend": True}, broken).problems
    mended = reviewed("ScheduledTask", {"schedule": "@hourly", "task": SUM}, broken)
    assert mended.problems == ()
    assert mended.warnings[0].startswith("x: runs next at 2026-01-01T13:00:00Z")
    assert reviewed("HTTPTarget", {"url": "https://x/"}) == Review()


def test_a_time_out_that_takes_the_place_of_a_templates_own_is_told() -> None:
    """Former versions stored 3600 where none was written."""

    def told(seconds: int | None, own: int | None) -> list[str]:
        more_spec = {} if own is None else {"activeDeadlineSeconds": own}
        template: dict[str, Any] = {"spec": {"template": {"spec": {}}, **more_spec}}
        more = {} if seconds is None else {"timeoutSeconds": seconds}
        spec = parse_spec({"intervalSeconds": 60, "task": {"job": {"template": template}}, **more}, strict=True)
        return [line for line in advice_of(spec, NOW, NOW) if "timeoutSeconds" in line and "ends the job" in line]

    assert told(3600, 21600) == [
        "spec.timeoutSeconds: 3600 ends the job, not activeDeadlineSeconds=21600; remove it if you did not mean it"
    ]
    assert told(3600, None)[0].startswith("spec.timeoutSeconds: 3600 ends the job, although the template sets no")
    assert (told(None, None), told(None, 60), told(60, 60), told(60, None)) == ([], [], [], [])
