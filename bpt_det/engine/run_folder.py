"""Folder of a run: who writes to it, what an earlier part left there, and where to go on from."""

import contextlib
import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bpt_det.utils.errors import InputError, one_line

from .checkpoint import LAST_CHECKPOINT, read_resumable
from .metrics import METRICS_NAME

logger = logging.getLogger(__name__)

LOCK_NAME = "run.lock"
_EARLIER = "earlier_"  # folders of a run that left no checkpoint
_REMAINS = (".*.partial", ".writable.*")  # of writes that were killed
_MAX_NAME = 1000  # bytes of a file's name
_BEAT = 10.0  # seconds from one sign of life of a run to the next
_SILENCE = 90.0  # seconds without one after which a run on another machine is taken for dead
# Folders that this process holds, with what `run_folder` found there.
_HELD: dict[Path, Path | None] = {}


@contextlib.contextmanager
def run_folder(folder: str | Path, *, resume: bool) -> Iterator[Path | None]:
    """Hold the folder of a run, and yield the checkpoint that the run goes on from, or None.

    Remains of writes that were killed are removed. Where a run is to be resumed and has left no
    checkpoint that can be read, its files move into ``earlier_1`` or the next such folder. Within
    the block a second call for the same folder yields the same.

    Args:
        folder: is made if need be.
        resume: go on with the run that the folder holds; otherwise it must hold none.

    Raises:
        InputError: another run writes there, or the folder holds a run and ``resume`` is False.
    """
    folder = Path(folder).resolve()
    if folder in _HELD:
        yield _HELD[folder]
        return
    folder.mkdir(parents=True, exist_ok=True)
    trace = find_trace(folder)
    if trace is not None and not resume:
        raise InputError(
            f"'{folder}' already holds a run ({trace}); choose another train.output_dir, or go on "
            "with that run.",
            hint="resume",
        )
    with _locked(folder / LOCK_NAME):
        for pattern in _REMAINS:
            for path in folder.rglob(pattern):
                path.unlink(missing_ok=True)
        start = find_checkpoint(folder) if resume else None
        if resume and start is None:
            moved = f"; what was there is kept in '{_set_aside(folder)}'" if trace else ""
            logger.warning("'%s' holds no checkpoint: starting from the beginning%s", folder, moved)
        _HELD[folder] = start
        try:
            yield start
        finally:
            del _HELD[folder]


def find_trace(folder: str | Path) -> str | None:
    """Return the name of a file that a run has left in a folder; None: the folder holds no run."""
    folder = Path(folder)
    metrics = [path for path in folder.glob(METRICS_NAME) if path.stat().st_size]
    traces = [*folder.glob("*.pth"), *metrics, *folder.glob(LAST_CHECKPOINT)]
    return traces[0].name if traces else None


def find_checkpoint(folder: str | Path) -> Path | None:
    """Return the checkpoint that a run in a folder goes on from, or None if it has left none.

    It is the one that ``last_checkpoint`` names. Where that cannot be used, it is the newest one
    that can be read, which a warning names.
    """
    folder = Path(folder)
    named, problem = _read_tag(folder)
    if named is not None:
        try:
            read_resumable(named)
            return named
        except InputError as error:
            problem = one_line(error)
    readable = {}
    for path in sorted(folder.glob("model_*.pth")):
        if path != named:
            with contextlib.suppress(InputError):
                readable[path] = read_resumable(path)
    if not readable:
        if named is not None:
            logger.warning("%s", problem)
        return None
    newest = max(readable, key=lambda path: (readable[path], path.name != "model_best.pth"))
    logger.warning(
        "%s; going on from '%s' (iteration %d)", problem.rstrip("."), newest, readable[newest]
    )
    return newest


def _read_tag(folder: Path) -> tuple[Path | None, str]:
    """Return the file that ``last_checkpoint`` names, or else None and what is wrong with it."""
    tag = folder / LAST_CHECKPOINT
    if not tag.is_file():
        return None, f"'{tag}' is missing"
    with tag.open("rb") as file:
        name = os.fsdecode(file.read(_MAX_NAME)).strip()
    if name and "\0" not in name and Path(name).name == name and (folder / name).is_file():
        return folder / name, ""
    return None, f"'{tag}' names {name!r}, which is no file beside it"


def last_checkpoint(folder: str | Path) -> str:
    """Return the path of the last checkpoint of a run, to evaluate or to predict with it.

    Raises:
        InputError: the folder holds none.
    """
    path = _read_tag(Path(folder))[0] or find_checkpoint(folder)
    if path is None:
        raise InputError(
            f"no checkpoint to load: '{folder}' holds none. Give one with "
            "train.init_checkpoint=PATH, or the run's folder with train.output_dir=FOLDER."
        )
    return str(path)


def _set_aside(folder: Path) -> Path:
    """Move what a run has written into a new folder inside its own, and return that."""
    number = 1
    while (folder / f"{_EARLIER}{number}").exists():
        number += 1
    target = folder / f"{_EARLIER}{number}"
    target.mkdir()
    for path in sorted(folder.iterdir()):
        if path.name != LOCK_NAME and not path.name.startswith(_EARLIER):
            path.rename(target / path.name)
    return target


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file, which says who holds it and is touched while its process lives.

    The kernel knows which process of this machine holds it. Not every file system tells that to
    other machines, whose locks are watched for a sign of life.
    """
    file = _acquire(path)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True)
    try:
        beat.start()
        yield
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        file.close()


def _acquire(path: Path) -> IO[str]:
    while True:
        file = path.open("a+")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(path, _read_owner(file)) from None
        except OSError as error:  # of a file system without locks
            logger.debug("'%s' cannot be locked: %s", path, error)
        with contextlib.suppress(FileNotFoundError):  # another run has just ended
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                break
        file.close()
    owner = _read_owner(file)
    if owner:
        if owner.get("machine") != _machine():
            _wait_for_silence(path, owner)
            if not path.exists():  # it has ended meanwhile
                file.close()
                return _acquire(path)
        logger.warning("taking over the lock of a run that has ended: %s", _describe(owner))
    file.truncate(0)
    file.write(
        json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine()})
    )
    file.flush()
    return file


def _read_owner(file: IO[str]) -> dict:
    file.seek(0)
    try:
        owner = json.loads(file.read())
    except ValueError:  # empty, or half written
        return {}
    return owner if isinstance(owner, dict) else {}


def _describe(owner: dict) -> str:
    return f"process {owner.get('pid', '?')} on {owner.get('host', 'an unknown machine')}"


def _held(path: Path, owner: dict) -> InputError:
    return InputError(
        f"another run writes to '{path.parent}': {_describe(owner)}; wait until it has ended, or "
        "choose another train.output_dir."
    )


def _wait_for_silence(path: Path, owner: dict) -> None:
    """Wait until a run on another machine can be taken for dead.

    Raises:
        InputError: it lives.
    """
    text = "'%s' is locked by %s: waiting %.0f s for a sign of life"
    logger.warning(text, path, _describe(owner), _SILENCE)
    before = path.stat().st_mtime_ns
    end = time.monotonic() + _SILENCE
    while time.monotonic() < end:
        time.sleep(min(1.0, _SILENCE / 4))
        if not path.exists():  # it has ended
            return
        if path.stat().st_mtime_ns != before:
            raise _held(path, owner)


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(_BEAT):
        with contextlib.suppress(OSError):  # a folder that is gone for a while
            os.utime(path)


def _machine() -> str:
    """Return what tells this machine, since its start, from others; names may be equal."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()
