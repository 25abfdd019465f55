"""Output folder of a rendered dataset: written atomically, with a record of its parameters."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from bpt_det.utils.errors import InputError
from bpt_det.utils.opencv import cv2

_JPEG_QUALITY = 95

logger = logging.getLogger(__name__)


def check_at_least(parameters: Mapping[str, int], lowest: Mapping[str, int]) -> None:
    """Check that no parameter is below its lowest value.

    Raises:
        InputError: it names all of them.
    """
    problems = [
        f"{name} must be at least {low}, got {parameters[name]}"
        for name, low in lowest.items()
        if parameters[name] < low
    ]
    if problems:
        raise InputError("; ".join(problems) + ".")


def make_folder(
    root: str | os.PathLike,
    parameters: Mapping[str, int],
    record_name: str,
    write: Callable[[Path], None],
) -> None:
    """Make the folder ``root`` atomically; do nothing if it was made already.

    Args:
        root: folder to make; it may exist if it is empty.
        parameters: all that the content depends on.
        record_name: file of the folder that holds ``parameters``; its stem names the dataset.
        write: fills a folder that it is given.

    Raises:
        InputError: ``root`` holds something else or cannot be written.
    """
    root = Path(os.path.abspath(root))
    partial = root.parent / f".{root.name}.{os.getpid()}.partial"  # a sibling: the same file system
    try:
        if _is_present(root, parameters, record_name):
            logger.info("%s is already there", root)
            return
        partial.mkdir(parents=True)
        write(partial)
        (partial / record_name).write_text(json.dumps(parameters, indent=2) + "\n")
        try:
            partial.rename(root)
        except OSError:
            # Another process may have put the same dataset there in the meantime.
            if not _is_present(root, parameters, record_name):
                raise
    except OSError as error:
        raise InputError(
            f"cannot write the dataset to {root}: {error.strerror or error}; choose another "
            "output folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_jpeg(path: Path, pixels: np.ndarray) -> None:
    """Write an image, (H, W, 3) uint8 in BGR."""
    # Encoded in memory: cv2.imwrite does not say why it could not write.
    _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    path.write_bytes(code.tobytes())


def _is_present(root: Path, parameters: Mapping[str, int], record_name: str) -> bool:
    """Return whether ``root`` holds this dataset.

    Raises:
        InputError: it holds anything else.
    """
    if root.is_dir() and not any(root.iterdir()) or not root.exists():
        return False
    advice = "choose another output folder or delete this one"
    try:
        recorded = json.loads((root / record_name).read_text())
        description = _describe(recorded)
    except (OSError, ValueError, AttributeError):
        kind = Path(record_name).stem
        raise InputError(
            f"{root} exists and holds no {kind} dataset (no readable {record_name}); {advice}."
        ) from None
    if recorded != parameters:
        raise InputError(
            f"{root} holds another dataset ({description}) than the one asked for "
            f"({_describe(parameters)}); {advice}."
        )
    return True


def _describe(parameters: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters.items())
