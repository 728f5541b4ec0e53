"""Check the project's Go code with gofmt and go vet, with the Go that builds the local cluster.

``lint_go.py``, which ``make lint`` runs, formats all of it and vets the control plane and ``make truth``'s CronJob
parser; ``lint_go.py realnode``, which ``make e2e`` runs, vets the real node instead, because vet compiles every import
and nothing else needs a kubelet.
"""

import subprocess
import sys
from pathlib import Path

from carillon_devcluster.errors import ToolchainError
from carillon_devcluster.layout import DEFAULT_ROOT, SOURCES, Root
from carillon_devcluster.toolchain import environment, find_or_install

CRONJOB = SOURCES.parent / "proofs" / "truth" / "cronjob"


def main() -> int:
    """Return 0 if every file is formatted and vet finds nothing."""
    module = SOURCES.joinpath(*sys.argv[1:])
    try:
        go = find_or_install(Root(DEFAULT_ROOT), lambda text: print(text, flush=True), module)
    except ToolchainError as error:
        print(f"lint: {error}", file=sys.stderr)
        return 1
    files = [str(path) for folder in (SOURCES, CRONJOB) for path in folder.rglob("*.go")]
    gofmt = subprocess.run([go.parent / "gofmt", "-l", *files], capture_output=True, text=True, check=False)
    if gofmt.returncode or gofmt.stdout:
        print(f"gofmt would change:\n{gofmt.stdout}{gofmt.stderr}", file=sys.stderr)
        return 1
    modules = [module] if sys.argv[1:] else [module, CRONJOB]
    return int(any(_vet(go, each) for each in modules))


def _vet(go: Path, module: Path) -> int:
    command = [str(go), "vet", "-trimpath", "-gcflags=all=-dwarf=false", "./..."]
    return subprocess.run(command, check=False, cwd=module, env=environment(go)).returncode


if __name__ == "__main__":
    sys.exit(main())
