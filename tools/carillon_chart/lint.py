"""Check the chart and the sources: ``python -m carillon_chart.lint``, which ``make lint`` calls.

helm lint, kubeconform and kube-score check the chart with each set of values in
its ``ci/``, checkov the same and the Dockerfiles, bandit the Python sources,
pip-audit the pinned packages. Exceptions are listed below with their reasons,
bandit's in pyproject.toml, pip-audit's in ``audit``.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from carillon_chart.audit import AuditError, audit
from carillon_chart.programs import CASES, HELM, KUBE_SCORE, KUBECONFORM, program, rendered_text, values_of
from carillon_chart.schemas import LOCATION, schemas
from carillon_devcluster.errors import ClusterError
from carillon_local.layout import CHART, EXAMPLES, ROOT, STATE
from pinned_packages import install_commands

PINNED = tuple(sorted((ROOT / "requirements").glob("*.txt")))
REQUIREMENTS = ROOT / "requirements" / "scanners.txt"
DOCKERFILES = tuple(sorted(ROOT.glob("Dockerfile.*")))
SCANNERS = STATE / "scanners"
SOURCES = ("core", "operator", "api", "recorder", "runner", "cli", "devcluster", "tools", "charts")
KUBERNETES = "v1.36"
UNPROTECTED = {"bare": "replicas and NetworkPolicies are off in these values on purpose"}
"""Sets of values that are not checked for security."""
NO_SCHEMA = {
    "ServiceMonitor": "its schema belongs to the Prometheus Operator, not to Kubernetes",
    "PodMonitor": "the same",
    "PrometheusRule": "the same",
}
SCORE_EXCEPTIONS = {
    "container-image-pull-policy": "images have the tag of a release, which does not change, or a digest",
    "deployment-has-host-podantiaffinity": "topologySpreadConstraints keep pods apart instead",
}
CHECKOV_EXCEPTIONS = {
    "CKV_K8S_15": "images have the tag of a release, which does not change, or a digest",
    "CKV_K8S_43": "a digest is a value: the chart cannot know the digests of images that users build",
    "CKV_K8S_35": "the programs read all their settings, including those in Secrets, from the environment",
    "CKV_K8S_38": "only pods that call the API server have a token, which a test checks",
    "CKV_K8S_8": "only the pod of helm test has no liveness probe, and it ends",
    "CKV_K8S_9": "the same for readiness",
    "CKV_K8S_155": "the operator renews what its own webhook trusts: it may change that one configuration, by name",
    "CKV2_K8S_5": "the operator creates pods, which can mount any Secret; it reads labels only (docs/adr/0136)",
    "CKV_K8S_40": "the official Postgres image runs as the account 999 only",
}

DOCKERFILE_EXCEPTIONS = {
    "CKV_DOCKER_2": "Kubernetes ignores HEALTHCHECK, OCI images do not have it, and the probes check more",
    "CKV_DOCKER_7": "the base image is an argument whose default has a tag; the check reads the argument's name",
}


class LintError(Exception):
    """A check found something, or could not run; the message says what."""


def main() -> int:
    """Return 0 if nothing is found."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="carillon-lint-") as name,
            ThreadPoolExecutor(os.cpu_count()) as threads,
        ):
            scanners = _scanners()
            files = {case: _rendered(case, Path(name)) for case in CASES}
            protected = [file for case, file in files.items() if case not in UNPROTECTED]
            # the longest first
            checks = [
                threads.submit(_checkov, "kubernetes", protected, CHECKOV_EXCEPTIONS),
                threads.submit(_bandit),
                threads.submit(_checkov, "dockerfile", DOCKERFILES, DOCKERFILE_EXCEPTIONS),
                threads.submit(_kubeconform, [*files.values(), *sorted(EXAMPLES.glob("*.yaml"))]),
                threads.submit(_kube_score, protected),
                threads.submit(_helm),
            ]
            print(audit(scanners / "pip-audit", PINNED, STATE / "audit"))
            for check in checks:
                check.result()
    except (LintError, AuditError, ClusterError, subprocess.CalledProcessError) as error:
        print(f"lint: {error}", file=sys.stderr)
        return 1
    return 0


def _rendered(case: str, folder: Path) -> Path:
    file = folder / f"{case}.yaml"
    file.write_text(rendered_text("--values", str(values_of(case))))
    return file


def _helm() -> None:
    for case in CASES:
        _run("helm lint", program(HELM), "lint", CHART, "--strict", "--quiet", "--values", values_of(case))


def _kubeconform(files: list[Path]) -> None:
    location = f"{schemas()}/{LOCATION}"
    skipped = ("-skip", ",".join(NO_SCHEMA))
    _run("kubeconform", program(KUBECONFORM), "-strict", "-schema-location", location, *skipped, *files)


def _kube_score(files: list[Path]) -> None:
    ignored = [word for name in SCORE_EXCEPTIONS for word in ("--ignore-test", name)]
    flags = ("--kubernetes-version", KUBERNETES, "--exit-one-on-warning", "--output-format", "ci")
    for file in files:
        # separately: objects of several releases would be taken for one release
        _run("kube-score", program(KUBE_SCORE), "score", *flags, *ignored, file, without=("[OK]", "[SKIPPED]"))


def _bandit() -> None:
    flags = ("--quiet", "--recursive", "--configfile", ROOT / "pyproject.toml")
    _run("bandit", _scanners() / "bandit", *flags, *SOURCES)


def _checkov(framework: str, files: Sequence[Path], exceptions: Mapping[str, str]) -> None:
    named = [word for file in files for word in ("--file", file)]
    # --skip-download: do not fetch the vendor's guidelines
    flags = ("--framework", framework, "--skip-download", "--quiet", "--compact")
    _run("checkov", _scanners() / "checkov", *flags, "--skip-check", ",".join(exceptions), *named)


def _scanners() -> Path:
    """Return the folder of the scanners, which have their own environment because checkov pins shared dependencies."""
    stamp = SCANNERS / ".carillon-stamp"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode() + str(SCANNERS).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print("installing bandit, checkov and pip-audit (first time, or they have changed)", flush=True)
        _run("their environment", sys.executable, "-m", "venv", "--clear", SCANNERS)
        for command in install_commands(SCANNERS / "bin" / "python", REQUIREMENTS):
            _run("their installation", *command)
        stamp.write_text(wanted)
    return SCANNERS / "bin"


def _run(what: str, *command: object, without: tuple[str, ...] = ()) -> None:
    """Run a check; lines of its output that begin with these prefixes are not findings."""
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        said = [
            line
            for line in f"{done.stdout}{done.stderr}".splitlines()
            if line and not (without and line.startswith(without))
        ]
        raise LintError(f"{what} found something:\n" + "\n".join(said))


if __name__ == "__main__":
    sys.exit(main())
