"""``python -m settings_reference --output FILE`` writes docs/settings.md, which is checked in: a list of all variables.

A program's variables come from its settings model. The variables of the runner,
the command line and make are listed here, because they have no models; a test
compares the lists with the sources.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic.fields import FieldInfo

from carillon_api.settings import Settings as APISettings
from carillon_core import contract
from carillon_core.adapters.postgres.__main__ import Variables as MigrateVariables
from carillon_core.settings import CommonSettings, HistorySettings, ProgramSettings, form_of, variable_of
from carillon_operator.lease_settings import LeaseVariables
from carillon_operator.recorder_settings import RecorderSettings as RecorderAddress
from carillon_operator.settings import Variables as OperatorVariables
from carillon_operator.webhook_settings import WebhookSettings
from carillon_recorder.settings import Settings as RecorderSettings

INTRODUCTION = """<!-- Generated from the settings models by `make manifests`: change those, not this. -->
# Settings

Every setting is an environment variable. A variable that is empty or blank counts as unset. A program does not start
with a wrong value: it names the variable and says what the value must be. The Helm chart sets the variables of the
operator, the API and `carillon-migrate` from its [values](../charts/carillon/README.md).
"""


@dataclass(frozen=True, slots=True)
class Variable:
    """One row of a table."""

    name: str
    value: str
    default: str
    description: str


@dataclass(frozen=True, slots=True)
class Section:
    """One table with its heading."""

    title: str
    introduction: str
    variables: tuple[Variable, ...]


def _of(*models: type[ProgramSettings], without: Sequence[type[ProgramSettings]] = ()) -> tuple[Variable, ...]:
    """Return the variables of models, except those of the models in `without`."""
    left_out = {name for model in without for name in model.model_fields}
    return tuple(
        _variable(name, field) for model in models for name, field in model.model_fields.items() if name not in left_out
    )


def _variable(name: str, field: FieldInfo) -> Variable:
    return Variable(variable_of(name, field), form_of(field), _default(field), field.description or "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if field.default_factory is not None or value is None or value == () or not isinstance(value, str | int):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


RUNNER = (
    Variable(contract.ENV_RECORDER_URL, "a URL", "", "The recorder that the runner reports to."),
    Variable(contract.ENV_RECORDER_CA, "PEM", "the image's", "The certificates that the recorder's must be signed by."),
    Variable(contract.ENV_DATABASE_URL, "a URL", "", "Without a recorder: the database; from the runners' Secret."),
    Variable(
        contract.ENV_CLAIM_SECONDS,
        "a number",
        f"`{contract.ENV_TIMEOUT_SECONDS}`",
        "How long the runner waits until it can claim its execution.",
    ),
    Variable(contract.ENV_EXECUTION_TOKEN, "a token", "", "Allows the pod to record this execution and no other."),
    Variable(contract.ENV_EXECUTION_ID, "a UUID", "", "The execution."),
    Variable(contract.ENV_TASK_UID, "a UID", "", "The ScheduledTask's UID."),
    Variable(contract.ENV_TASK_NAMESPACE, "a namespace", "", "The ScheduledTask's namespace."),
    Variable(contract.ENV_TASK_NAME, "a name", "", "The ScheduledTask's name."),
    Variable(contract.ENV_SLOT, "a time (RFC 3339, UTC)", "", "The slot."),
    Variable(contract.ENV_CAUSE, "schedule or manual", "", "Why the execution exists."),
    Variable(
        contract.ENV_TASK,
        "JSON",
        "",
        f"`spec.task`. A long one continues in `{contract.ENV_TASK}_1`, `{contract.ENV_TASK}_2` and so on.",
    ),
    Variable(
        contract.ENV_ORIGIN,
        "a UID",
        "the task's UID",
        "The UID of the object that asked for the execution: a ScheduledTask or a RunRequest.",
    ),
    Variable(contract.ENV_RETRY, "JSON", "no retries", "`spec.retry`."),
    Variable(contract.ENV_PARAMETERS, "JSON", "`{}`", "The RunRequest's `spec.parameters`, for templates."),
    Variable(contract.ENV_TIME_ZONE, "a time zone", "UTC", "The task's time zone, for templates."),
    Variable(
        f"{contract.ENV_SECRET_PREFIX}0",
        "text",
        "",
        f"The value of an HTTPTarget's first Secret reference; `{contract.ENV_SECRET_PREFIX}1` is the second.",
    ),
    Variable(contract.ENV_HTTP_ALLOW, "as the operator's", "none", "The operator's setting, for HTTP tasks."),
    Variable(contract.ENV_TIMEOUT_SECONDS, "a number", "", "The time limit of the execution."),
    Variable(contract.ENV_JOB_NAME, "a name", "", "The Job's name."),
    Variable(contract.ENV_POD_NAME, "a name", "", "The pod's name."),
    Variable(
        contract.ENV_TERMINATION_LOG,
        "a path",
        f"`{contract.TERMINATION_LOG}`",
        "The file for the termination message.",
    ),
)
COMMAND_LINE = (
    Variable(
        "KUBECTL",
        "a program",
        "`kubectl`, or that of the local cluster",
        "The kubectl that `carillon export` and `carillon import` run.",
    ),
)
MAKE_RUN = (
    Variable("DATABASE_URL", "a URL", "an embedded Postgres", "Your own Postgres."),
    Variable(
        "CARILLON_RUNNER_DATABASE_URL",
        "a URL",
        "`DATABASE_URL`",
        "The recorder's login to your Postgres, created by `carillon-migrate runner-role`; with your own cluster and no"
        " recorder, the runners'.",
    ),
    Variable(
        "CARILLON_API_DATABASE_URL",
        "a URL",
        "`DATABASE_URL`",
        "The API's login to your Postgres, created by `carillon-migrate api-role`.",
    ),
    Variable(
        "KUBECONFIG_EXISTING",
        "a path",
        "a local cluster",
        "The kubeconfig of your own cluster. It requires `DATABASE_URL` and `CARILLON_RUNNER_IMAGE`.",
    ),
    Variable("CARILLON_RUNNER_IMAGE", "an image reference", "", "An image that your own cluster can pull."),
    Variable("CARILLON_HISTORY_RETENTION_DAYS", "as the operator's", "`400`", "As for the operator."),
    Variable("CARILLON_API_PORT", "a port", "`8080`, or a free one", "The API's port on 127.0.0.1."),
    Variable("CARILLON_HTTPBIN_PORT", "a port", "`8085`, or a free one", "The port of the local httpbin."),
    Variable("CARILLON_RECORDER_PORT", "a port", "`8090`, or a free one", "The recorder's port on 127.0.0.1."),
    Variable("CARILLON_WEBHOOK_PORT", "a port", "`9443`, or a free one", "The admission webhook's port on 127.0.0.1."),
    Variable(
        "CARILLON_RECORDER_URL", "a URL", "the local recorder", "A recorder that the pods of your own cluster reach."
    ),
    Variable("CARILLON_RECORDER_CA_FILE", "as the operator's", "", "As for the operator."),
    Variable("CARILLON_HTTP_ALLOW", "as the operator's", "`127.0.0.0/8,::1`", "As for the operator."),
    Variable("CARILLON_LOG_LEVEL", "as the operator's", "`INFO`", "As for the operator and the API."),
    Variable("CARILLON_LOG_FORMAT", "json or text", "`json`", "As for the operator and the API."),
)
IMAGES = (
    Variable("ENGINE", "docker, podman or buildah", "the first that is found", "What builds the images."),
    Variable("REGISTRY", "text", "`localhost`", "Prefix of the image names. `make deploy` pulls from it."),
    Variable("IMAGE_TAG", "a tag", "the release", "The tag of the images."),
    Variable("BASE_IMAGE", "an image", "the Dockerfiles'", "The base image; `local` uses what `make base-image` made."),
    Variable("BUILD_IMAGE", "an image", "`BASE_IMAGE`", "The image in which the packages are built."),
    Variable("DEBIAN_MIRROR", "a URL", "debootstrap's", "Where `make base-image` gets its packages."),
    Variable("KIND_CLUSTER", "a name", "`carillon-trial`", "The kind cluster of `make kind-up` and `make kind-down`."),
    Variable(
        "MINIKUBE_PROFILE",
        "a name",
        "`minikube`",
        "The minikube profile of `make mk-image` and the other minikube targets.",
    ),
    Variable("KUBECONFIG", "a path", "kubectl's", "The kubeconfig that `make deploy` uses."),
    Variable("CONTEXT", "a name", "the current one", "The context of the kubeconfig."),
    Variable("NAMESPACE", "a namespace", "`carillon-system`", "The namespace of the release."),
    Variable("VALUES", "files, separated by commas", "a trial", "Values for the chart; later files take precedence."),
    Variable("TIMEOUT", "a duration such as 90s", "`10m`", "How long Helm waits until everything is ready."),
)
DEVELOPMENT = (
    Variable("PYTHON", "a program", "the first Python from 3.11 on", "The Python that makes the environment."),
    Variable("CARILLON_TEST_KUBECONFIG", "a path", "", "An existing cluster for tests that need an API server."),
    Variable(
        "CARILLON_TEST_LANES", "a number", "`4`", "Workers of `make test`, each with its own cluster and Postgres."
    ),
    Variable(
        "CI", "any text", "", "If set, `make lint` fails when the checkers of api/openapi.json cannot be installed."
    ),
    Variable("TRIPLES", "a number", "`1000000`", "Cases of `make truth`."),
    Variable("SEED", "a number", "random", "The seed of `make truth`, `make faults`, `make timeline`."),
    Variable("PLANS", "a number", "`300`", "Plans of `make faults`."),
    Variable("FROM", "a number", "`0`", "The plan with which `make faults` continues a run that was stopped."),
    Variable("CASES", "a number", "`10000`", "The least requests of `make schemathesis`."),
    Variable("PLAN", "a number or a plan", "", "A plan that `make faults` replays."),
    Variable("NATIVE", "`1`", "", "Makes `make faults` use Kubernetes' CronJob controller instead of the operator."),
    Variable("SUMMARY", "`1`", "", "Makes `make faults` print the table of its results and run nothing."),
    Variable("LANES", "a number", "`6`", "Operators that `make faults` runs at the same time."),
    Variable("TASKS", "a number", "`1000`", "Tasks of `make timeline`; of `make backlog`, by default 10000."),
    Variable("REQUESTS", "a number", "`10000`", "RunRequests of `make backlog`."),
    Variable("DAYS", "a number", "`365`", "Days that `make timeline` simulates."),
    Variable("ROWS", "a number", "`1000000`", "Executions in the history of `make bench-api`."),
    Variable("RATE", "a number", "`100`", "Requests per second of `make bench-api`."),
    Variable("VIEWERS", "a number", "`500`", "Streams of changes that `make bench-events` keeps open."),
    Variable(
        "SECONDS",
        "a number",
        "`20` or `60`",
        "How long `make bench-api` measures each request (20), and `make bench-events` each case (60).",
    ),
    Variable("RUNNERS", "a number", "`1000`", "Runners of `make storm`."),
    Variable("CONNECTIONS", "a number", "`40`", "The `max_connections` of the Postgres of `make storm`."),
    Variable("KILLS", "a number", "`20`", "How often `make e2e` kills the operator."),
    Variable(
        "CARILLON_DEVCLUSTER_CM_QPS",
        "a number",
        "",
        "The client limit of the local cluster's controller manager, for benchmarks.",
    ),
    Variable(
        "CARILLON_DEVCLUSTER_CM_CONTROLLERS",
        "names",
        "",
        "The controllers that the local cluster's controller manager runs. Default: all.",
    ),
)

SECTIONS = (
    Section("Operator and API", "Both programs read these.", _of(CommonSettings)),
    Section("Operator", "", _of(OperatorVariables, without=[CommonSettings])),
    Section("Operator: recorder", "Read if `CARILLON_RECORDER_URL` is set.", _of(RecorderAddress)),
    Section("Operator: leader election", "Read if `CARILLON_LEASE_NAMESPACE` is set.", _of(LeaseVariables)),
    Section("Operator: admission webhook", "Read if `CARILLON_WEBHOOK_PORT` is set.", _of(WebhookSettings)),
    Section("API", "", _of(APISettings, without=[CommonSettings])),
    Section("Recorder", "", _of(RecorderSettings)),
    Section("carillon-migrate", "", _of(MigrateVariables, HistorySettings)),
    Section("Command line", "", COMMAND_LINE),
    Section(
        "Runner pods",
        "The operator sets these in each runner pod; they are not for users.",
        RUNNER,
    ),
    Section("make run", "`.env.example` has the same list.", MAKE_RUN),
    Section("Images and deployment", "For `make images`, `make deploy` and the targets for kind and minikube.", IMAGES),
    Section("Tests, proofs and benchmarks", "", DEVELOPMENT),
)


def reference_text() -> str:
    """Return the page as it is checked in."""
    return INTRODUCTION + "".join(line for section in SECTIONS for line in _lines(section))


def _lines(section: Section) -> Iterator[str]:
    yield f"\n## {section.title}\n\n"
    if section.introduction:
        yield f"{section.introduction}\n\n"
    yield "| Variable | Value | Default | Description |\n| --- | --- | --- | --- |\n"
    for each in section.variables:
        cells = (f"`{each.name}`", each.value, each.default, each.description)
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def main() -> int:
    """Write the page to a file, or to standard output."""
    parser = argparse.ArgumentParser(description="Write the page of all settings.")
    parser.add_argument("--output", type=Path, help="the file to write; standard output by default")
    output: Path | None = parser.parse_args().output
    if output is None:
        sys.stdout.write(reference_text())
    else:
        output.write_text(reference_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
