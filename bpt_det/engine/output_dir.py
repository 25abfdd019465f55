"""Folders that results go to: made, writable, and never written over."""

from pathlib import Path

from bpt_det.utils.atomic import make_writable
from bpt_det.utils.errors import InputError


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
