"""Check the chart and the sources: ``python -m carillon_chart.lint``, which ``make lint`` calls.

helm lint, kubeconform and kube-score look at the chart with each set of values
of its ``ci/``, checkov at the same and at the Dockerfiles, bandit at the Python
sources, pip-audit at what is pinned. What is excepted stands below with its
reason, bandit's in pyproject.toml, pip-audit's in ``audit``.
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
SOURCES = ("core", "operator", "api", "runner", "cli", "devcluster", "tools", "charts")
KUBERNETES = "v1.36"
UNPROTECTED = {"bare": "what protects, replicas and NetworkPolicies, is off there on purpose"}
"""Sets of values that are not asked how well they protect."""
NO_SCHEMA = {
    "ServiceMonitor": "its schema belongs to the Prometheus Operator, not to Kubernetes",
    "PrometheusRule": "the same",
}
SCORE_EXCEPTIONS = {
    "container-image-pull-policy": "images have the tag of a release, which does not change, or a digest",
    "deployment-has-host-podantiaffinity": "topologySpreadConstraints keep pods apart, in newer Kubernetes' way",
}
CHECKOV_EXCEPTIONS = {
    "CKV_K8S_15": "images have the tag of a release, which does not change, or a digest",
    "CKV_K8S_43": "a digest is a value; the chart cannot know that of an image that each builds for oneself",
    "CKV_K8S_35": "the programs read their settings from the environment, and a Secret's part in no other way",
    "CKV_K8S_38": "operator, API and test call the API server; what does not has no token, which a test holds",
    "CKV_K8S_8": "only the pod of helm test has no liveness probe, and it ends",
    "CKV_K8S_9": "the same of readiness",
    "CKV_K8S_40": "the official image of Postgres has the account 999 and no other",
}

DOCKERFILE_EXCEPTIONS = {
    "CKV_DOCKER_2": "Kubernetes ignores HEALTHCHECK, an OCI image cannot carry it, and the probes ask more",
    "CKV_DOCKER_7": "the base is an argument, whose default has a tag; the check reads the argument's name as an image",
}


class LintError(Exception):
    """A check found something, or could not be made; the message says what."""


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
        # each by itself: objects of two releases would be taken for one's
        _run("kube-score", program(KUBE_SCORE), "score", *flags, *ignored, file, without=("[OK]", "[SKIPPED]"))


def _bandit() -> None:
    flags = ("--quiet", "--recursive", "--configfile", ROOT / "pyproject.toml")
    _run("bandit", _scanners() / "bandit", *flags, *SOURCES)


def _checkov(framework: str, files: Sequence[Path], exceptions: Mapping[str, str]) -> None:
    named = [word for file in files for word in ("--file", file)]
    # --skip-download: no guidelines of the vendor's are fetched
    flags = ("--framework", framework, "--skip-download", "--quiet", "--compact")
    _run("checkov", _scanners() / "checkov", *flags, "--skip-check", ",".join(exceptions), *named)


def _scanners() -> Path:
    """Return the folder of the scanners, which have an environment of their own: checkov pins what others use too."""
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
    """Run a check; of what it says, lines that begin so are no finding."""
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
