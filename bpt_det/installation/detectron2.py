"""Installation of Detectron2, which is not on the package index under its own name.

Runs before anything else is installed: only the standard library is imported here.
"""

import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .detectron2_patches import ADDED_FILES, INSTALLED_VERSION, PATCHES, apply_patches
from .detectron2_wheel import (
    SDIST_NAME,
    SDIST_SHA256,
    SDIST_VERSION,
    WHEEL_NAME,
    build_wheel,
    describe_wheel,
    read_source,
)

logger = logging.getLogger(__name__)

# The source distribution declares an extra with a direct URL, and pip 26 refuses such a
# distribution from an index ("cannot declare direct URL dependencies"), even with --no-deps. This
# pip still takes it. It is used from a temporary folder, with what a setup.py needs and a new
# environment lacks; the environment stays as it is.
DOWNLOAD_TOOLS = ("pip==25.3", "setuptools==81.0.0", "wheel==0.48.0")

GIT_URL = "https://github.com/facebookresearch/detectron2"
GIT_COMMIT = "02b5c4e295e990042a714712c21dc79b731e8833"

# Run in a fresh interpreter, so that what is installed in between is seen. A folder without
# __init__.py is what an interrupted installation leaves: it counts as absent.
PROBE = """
import importlib.metadata, importlib.util, json
spec = importlib.util.find_spec("detectron2")
if spec is None or spec.origin is None:
    raise SystemExit(3)
import detectron2.layers
try:
    description = importlib.metadata.distribution("detectron2").read_text("METADATA")
except importlib.metadata.PackageNotFoundError:
    description = None
print(json.dumps({"version": detectron2.__version__, "description": description}))
"""
PROBE_ABSENT = 3
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InstallError(RuntimeError):
    """Failed installation, in one line for the user."""


def run(command: Sequence[str], what: str, *, show: bool = False, **options) -> None:
    """Run a command to its end.

    Args:
        command: program and arguments.
        what: name of the step, for the error.
        show: let its output through; otherwise its error line goes into the error.
        options: passed on to ``subprocess.run``.

    Raises:
        InstallError: the command is missing, fails or takes too long.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=None if show else subprocess.PIPE,
            stderr=None if show else subprocess.STDOUT,
            text=True,
            errors="replace",
            **options,
        )
    except FileNotFoundError as error:
        raise InstallError(f"{what} failed: {command[0]} is not installed.") from error
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"{what} failed: no answer within {error.timeout:.0f} s.") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stdout or "").splitlines() if line.strip()]
        lines = [line for line in lines if line.startswith(("ERROR:", "fatal:"))] or lines[-1:]
        reason = lines[0] if lines else f"exit status {done.returncode}, see above"
        raise InstallError(f"{what} failed: {reason}")


def pip_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]


def importable_detectron2() -> dict[str, str] | None:
    """Return ``version`` and ``description`` (METADATA) of the installed one, None without one.

    Raises:
        InstallError: there is one, but importing it fails.
    """
    with tempfile.TemporaryDirectory() as elsewhere:  # a folder detectron2/ here must not count
        done = subprocess.run(
            [sys.executable, "-c", PROBE], cwd=elsewhere, capture_output=True, text=True
        )
    if done.returncode == PROBE_ABSENT:
        return None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise InstallError(
            f"detectron2 is installed but cannot be imported: {reason}. "
            "Repair what it names, or replace detectron2 with --force."
        )
    return json.loads(done.stdout.splitlines()[-1])


def download_source(folder: Path) -> bytes:
    """Fetch the source distribution through the user's pip configuration; return its bytes."""
    if importlib.util.find_spec("torch") is None:
        raise InstallError(
            "torch must be installed before detectron2, because pip runs its setup.py to read its "
            "metadata: pip install torch torchvision"
        )
    tools = folder / "tools"
    run(
        pip_command("install", "--quiet", "--no-deps", "--target", str(tools), *DOWNLOAD_TOOLS),
        f"installing {', '.join(DOWNLOAD_TOOLS)} into a temporary folder",
    )
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{SDIST_NAME}=={SDIST_VERSION} --hash=sha256:{SDIST_SHA256}\n")
    python_path = os.pathsep.join(filter(None, [str(tools), os.environ.get("PYTHONPATH")]))
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-binary", ":all:"]
    run(
        pip_command(
            "download", *flags, "--require-hashes", "-d", str(folder), "-r", str(requirement)
        ),
        f"downloading {SDIST_NAME} {SDIST_VERSION}",
        env={**os.environ, "PYTHONPATH": python_path},
    )
    return (folder / f"{SDIST_NAME}-{SDIST_VERSION}.tar.gz").read_bytes()


def wheel_from_registry(folder: Path) -> Path:
    logger.info("downloading %s %s and reading its metadata", SDIST_NAME, SDIST_VERSION)
    source = read_source(download_source(folder))
    logger.info("applying %d patches and building %s", len(PATCHES), WHEEL_NAME)
    wheel = folder / WHEEL_NAME
    wheel.write_bytes(build_wheel({**apply_patches(source), **ADDED_FILES}))
    return wheel


def wheel_from_git(folder: Path) -> Path:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    run(["git", "ls-remote", GIT_URL, "HEAD"], f"reaching {GIT_URL}", env=environment, timeout=60)
    logger.info("building %s at %s; this takes some minutes", GIT_URL, GIT_COMMIT)
    flags = ["--no-build-isolation", "--no-deps", "--wheel-dir", str(folder)]
    run(
        pip_command("wheel", *flags, f"git+{GIT_URL}@{GIT_COMMIT}"),
        "building detectron2",
        show=True,
        env=environment,
    )
    return next(folder.glob("detectron2-*.whl"))


def install_wheel(wheel: Path) -> None:
    """Install with pip; Ctrl-C is ignored for these few seconds, so no copy is incomplete."""
    ignored = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        run(  # pip inherits that the signals are ignored
            pip_command("install", "--quiet", "--no-deps", "--force-reinstall", str(wheel)),
            f"installing {wheel.name}",
        )
    finally:
        for number, handler in ignored.items():
            signal.signal(number, handler)


def is_up_to_date(installed: dict[str, str], source: str) -> bool:
    """Say whether an importable detectron2 is kept: always, except our own outdated build."""
    if source == "git" or installed["version"] != INSTALLED_VERSION:
        return True
    return installed["description"] in (None, describe_wheel())


def install(source: str, force: bool) -> None:
    """Install detectron2 unless one is there; ``force`` replaces it."""
    installed = None if force else importable_detectron2()
    if installed is not None:
        if is_up_to_date(installed, source):
            logger.info(
                "detectron2 %s is installed and left alone (--force replaces it)",
                installed["version"],
            )
            return
        logger.info(
            "detectron2 %s was built from an older patch set; building it again", INSTALLED_VERSION
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        install_wheel(wheel_from_git(folder) if source == "git" else wheel_from_registry(folder))
    installed = importable_detectron2()
    if installed is None:
        raise InstallError(f"detectron2 was installed, but {sys.executable} does not find it.")
    logger.info("detectron2 %s is installed", installed["version"])
