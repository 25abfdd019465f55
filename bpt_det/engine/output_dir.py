"""Folders that results go to: made, writable, and never written over."""

import os
from pathlib import Path

from bpt_det.utils.errors import InputError


def make_writable(folder: str | Path, name: str) -> None:
    """Make a folder and try to write into it.

    Args:
        folder: path to make.
        name: what the user calls it, such as ``train.output_dir``.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        probe = Path(folder) / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write to {name} '{folder}': {error.strerror}; choose another folder."
        ) from error


def prepare_output_dir(output_dir: str, *, may_hold_run: bool) -> None:
    """Make the output folder of a run, and refuse to write over an earlier one.

    Raises:
        InputError: it cannot be written, or holds a run and ``may_hold_run`` is False.
    """
    make_writable(output_dir, "train.output_dir")
    folder = Path(output_dir)
    metrics = [path for path in folder.glob("metrics.json") if path.stat().st_size]
    traces = [*folder.glob("*.pth"), *metrics, *folder.glob("last_checkpoint")]
    if traces and not may_hold_run:
        raise InputError(
            f"'{output_dir}' already holds a run ({traces[0].name}); continue it with --resume, or "
            "choose another train.output_dir."
        )
