"""The environment variables that the chart sets are those that the programs read."""

import re

from carillon_api.settings import Settings as ApiSettings
from carillon_core.settings import ProgramSettings, variable_of
from carillon_local.layout import ROOT
from carillon_operator.lease_settings import LeaseVariables
from carillon_operator.recorder_settings import RecorderSettings as RecorderAddress
from carillon_operator.settings import Settings, Variables
from carillon_operator.webhook_settings import WebhookSettings
from carillon_recorder.settings import Settings as RecorderSettings
from support.chart import containers, every_case, pods

MODELS: dict[str, tuple[type[ProgramSettings], ...]] = {
    "operator": (Variables, LeaseVariables, RecorderAddress, WebhookSettings),
    "api": (ApiSettings,),
    "recorder": (RecorderSettings,),
}
READ_BY_HAND = {
    "upgrade": ("core/carillon_core/contract.py", "core/carillon_core/adapters/postgres/roles/namespace_login.py"),
    "runner-role": ("core/carillon_core/contract.py", "core/carillon_core/adapters/postgres/roles/namespace_login.py"),
    "api-role": ("core/carillon_core/contract.py", "core/carillon_core/adapters/postgres/roles/api_role.py"),
    "test": ("charts/carillon/files/installed.py",),
}


def read_by(program: str) -> set[str]:
    """Return the variables that a program reads."""
    if program in MODELS:
        return {variable_of(*field) for model in MODELS[program] for field in model.model_fields.items()}
    text = "".join((ROOT / path).read_text() for path in READ_BY_HAND[program])
    return set(re.findall(r"\b(?:CARILLON_[A-Z_]+|DATABASE_URL|API_URL|NAMESPACE|TOKEN_FILE)\b", text))


@every_case
def test_every_variable_is_one_that_its_program_reads(case: str) -> None:
    """A misspelt variable would be ignored without a message."""
    for name, container in containers(case).items():
        program = container["name"]
        if program == "postgres":
            continue
        given = {variable["name"] for variable in container["env"]}
        assert given - read_by(program) == set(), name


def test_the_defaults_of_pods_are_what_the_operator_reads() -> None:
    """The operator reads the pod defaults of the values, also if there are none."""
    for name, pool in (("trial", {}), ("life", {"pool": "batch"})):
        found = next(each for key, each in containers(name).items() if key.endswith("/operator"))
        env = {each["name"]: each.get("value") for each in found["env"]}
        needed = {"DATABASE_URL": "postgresql://u:p@h/d", "CARILLON_RUNNER_IMAGE": "r:1"}
        told = {
            key: value
            for key, value in env.items()
            if key in {"CARILLON_POD_DEFAULTS", "CARILLON_QUEUE_NAME"} and value
        }
        runner = Settings.from_env(needed | told).runner
        assert (runner.pod.node_selector, runner.queue_name) == (pool, "nightly" if pool else None)


def test_the_operator_is_told_of_a_recorder_or_of_the_runners_login() -> None:
    """Never of both; the pods get the CA's certificate and not the recorder's key."""
    login, address = {"CARILLON_RUNNER_DATABASE_URL"}, {"CARILLON_RECORDER_URL", "CARILLON_RECORDER_CA_FILE"}
    for case, want in (("life", address), ("bare", login)):
        for name, container in containers(case).items():
            if container["name"] == "operator":
                assert {e["name"] for e in container["env"]} & (login | address) == want, name
    (url,) = (
        e["value"]
        for name, container in containers("trial").items()
        if container["name"] == "operator"
        for e in container["env"]
        if e["name"] == "CARILLON_RECORDER_URL"
    )
    assert url == "https://carillon-recorder.carillon-system.svc:8443"
    volumes = pods("trial")["Deployment carillon-operator-0"]["volumes"]
    (mounted,) = (volume["secret"] for volume in volumes if volume["name"] == "recorder")
    assert mounted == {"secretName": "carillon-recorder", "items": [{"key": "ca.crt", "path": "ca.crt"}]}


def test_every_setting_of_the_programs_can_be_made() -> None:
    """The chart sets every variable except those that a pod does not need."""
    needless = {"KUBECONFIG", "CARILLON_RUNNER_SECRET", "CARILLON_WEBHOOK_CA_FILE", "CARILLON_WEBHOOK_ADDRESS"}
    needless |= {"CARILLON_WEBHOOK_HOST", "CARILLON_WEBHOOK_SERVICE", "CARILLON_WEBHOOK_FAILURE_POLICY"}
    needless |= {"CARILLON_RUNNER_DATABASE_URL", "CARILLON_RUNNER_LOGINS"}  # with a recorder
    for program in ("operator", "api", "recorder"):
        given = {
            variable["name"]
            for name, container in containers("life").items()
            if name.startswith("Deployment ") and container["name"] == program
            for variable in container["env"]
        }
        assert read_by(program) - given - needless == set()
