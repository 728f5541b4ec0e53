"""``python -m carillon_images build|base|sbom|archives``: implements ``make images`` and related targets.

Settings are environment variables: ENGINE (docker, podman or buildah), REGISTRY (prefix of the names), IMAGE_TAG
(default: the release), BASE_IMAGE and BUILD_IMAGE (default: those of the Dockerfiles; ``local`` is the result of
``base``).
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from carillon_core import __version__
from carillon_images import base
from carillon_images.engines import Engine, ImageError, find_engine
from carillon_images.pip_settings import pip_secrets
from carillon_images.sbom import write_sbom

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("operator", "runner")
SBOMS = ROOT / ".carillon" / "sbom"
ARCHIVES = ROOT / ".carillon" / "images"
MEGABYTE = 1_000_000
CLOSED_MACHINE = "if no base image can be pulled here: make base-image, then make images BASE_IMAGE=local"


def main(arguments: list[str]) -> int:
    """Run one action; return the exit code."""
    actions = {"build": build, "base": make_base, "sbom": sbom, "archives": archives}
    if len(arguments) != 1 or arguments[0] not in actions:
        print(f"usage: python -m carillon_images {'|'.join(actions)}", file=sys.stderr)
        return 2
    try:
        actions[arguments[0]](find_engine(os.environ.get("ENGINE", "")))
    except (ImageError, subprocess.CalledProcessError) as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


def image_name(program: str) -> str:
    """Return an image's full name: registry, name and tag."""
    registry = os.environ.get("REGISTRY", "").rstrip("/") or "localhost"
    return f"{registry}/carillon-{program}:{os.environ.get('IMAGE_TAG') or __version__}"


def build(engine: Engine) -> None:
    """Build both images and print their sizes.

    Raises:
        ImageError: A build failed; if the base image is missing, the message says what to do.

    """
    arguments = {"VERSION": __version__, **base_arguments()}
    missing = [name for name in (base.BASE, base.BUILD) if name in arguments.values() and not engine.has(name)]
    if missing:
        raise ImageError(f"BASE_IMAGE=local needs {' and '.join(missing)}, which do not exist yet: run make base-image")
    with tempfile.TemporaryDirectory(prefix="carillon-images-") as folder:
        secrets = pip_secrets(Path(folder))
        for program in PROGRAMS:
            try:
                engine.build(ROOT / f"Dockerfile.{program}", image_name(program), arguments, secrets, context=ROOT)
            except ImageError as error:
                hint = "" if os.environ.get("BASE_IMAGE") == "local" else f" ({CLOSED_MACHINE})"
                raise ImageError(f"{error}{hint}") from error
    engine.prune()
    for program in PROGRAMS:
        name = image_name(program)
        print(f"{name}: {engine.size(name) / MEGABYTE:.0f} MB unpacked ({engine.name})")


def base_arguments() -> dict[str, str]:
    """Return the build arguments with the base images."""
    wanted = os.environ.get("BASE_IMAGE", "")
    if wanted == "local":
        return {"BASE_IMAGE": base.BASE, "BUILD_IMAGE": base.BUILD}
    if not wanted:
        return {}
    return {"BASE_IMAGE": wanted, "BUILD_IMAGE": os.environ.get("BUILD_IMAGE") or wanted}


def make_base(engine: Engine) -> None:
    """Build a base image from Debian's packages."""
    for name in base.make_base(engine):
        print(f"{name}: {engine.size(name) / MEGABYTE:.0f} MB unpacked; make images BASE_IMAGE=local uses it")


def archives(engine: Engine) -> None:
    """Build both images, and their local base if it is wanted and missing, and write archives for ``make e2e``."""
    if os.environ.get("BASE_IMAGE") == "local" and not (engine.has(base.BASE) and engine.has(base.BUILD)):
        make_base(engine)
    build(engine)
    for program in PROGRAMS:
        engine.archive(image_name(program), ARCHIVES / f"carillon-{program}.tar")


def sbom(engine: Engine) -> None:
    """Write each image's SBOM, validated, to ``.carillon/sbom``."""
    for program in PROGRAMS:
        target = SBOMS / f"carillon-{program}.cdx.json"
        count = write_sbom(engine, image_name(program), f"carillon-{program}", __version__, target)
        print(f"{target.relative_to(ROOT)}: {count} packages")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
