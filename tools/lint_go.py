"""Check the local cluster's Go code with gofmt and go vet, with the Go that builds it.

``lint_go.py`` formats all of it and vets the control plane's module, as ``make lint`` does; ``lint_go.py realnode``
vets the real node's, as ``make e2e`` does, since vet compiles everything it imports, and nothing else needs a kubelet.
"""

import subprocess
import sys
from pathlib import Path

from carillon_devcluster.errors import ToolchainError
from carillon_devcluster.layout import DEFAULT_ROOT, SOURCES, Root
from carillon_devcluster.toolchain import environment, find_or_install


def main() -> int:
    """Return 0 if every file is formatted and vet finds nothing."""
    module = SOURCES.joinpath(*sys.argv[1:])
    try:
        go = find_or_install(Root(DEFAULT_ROOT), lambda text: print(text, flush=True), module)
    except ToolchainError as error:
        print(f"lint: {error}", file=sys.stderr)
        return 1
    files = [str(path) for path in SOURCES.rglob("*.go")]
    gofmt = subprocess.run([go.parent / "gofmt", "-l", *files], capture_output=True, text=True, check=False)
    if gofmt.returncode or gofmt.stdout:
        print(f"gofmt would change:\n{gofmt.stdout}{gofmt.stderr}", file=sys.stderr)
        return 1
    return _vet(go, module)


def _vet(go: Path, module: Path) -> int:
    command = [str(go), "vet", "-trimpath", "-gcflags=all=-dwarf=false", "./..."]
    return subprocess.run(command, check=False, cwd=module, env=environment(go)).returncode


if __name__ == "__main__":
    sys.exit(main())
