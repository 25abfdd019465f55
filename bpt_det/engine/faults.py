"""Faults of the machine, as one line with the likely cause and the next step."""

import contextlib
import errno
import re
from collections.abc import Iterator

import torch
from omegaconf import DictConfig, OmegaConf

from bpt_det.utils.atomic import ask_for_space
from bpt_det.utils.available_memory import available_memory
from bpt_det.utils.errors import InputError, one_line

_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|Insufficient memory")
_DEAD_WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? ?([\d, ]+)\)?")
_GB = 1e9
_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EFBIG)


@contextlib.contextmanager
def explained_faults(cfg: DictConfig) -> Iterator[None]:
    """Raise an `InputError` in place of what libraries raise where memory ends or a process dies.

    Args:
        cfg: config with `dataloader`, whose sizes the text names.

    Raises:
        InputError: memory was exhausted, or a loading process died.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        explained = explain_fault(error, cfg)
        if explained is None:
            raise
        raise explained from error


def explain_fault(error: Exception, cfg: DictConfig) -> InputError | None:
    """Return what an error means, or None if it is no fault of the machine."""
    if isinstance(error, torch.OutOfMemoryError):
        return _out_of_memory("GPU", cfg)
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return _out_of_memory("CPU", cfg)
    if isinstance(error, RuntimeError) and _DEAD_WORKER.search(str(error)):
        return dead_worker(str(error))
    if isinstance(error, OSError) and error.errno in _STORAGE:
        name = f" '{error.filename}'" if error.filename else ""
        return InputError(
            f"cannot write{name} ({error.strerror}){ask_for_space(error)}", hint="resume"
        )
    return None


def _out_of_memory(device: str, cfg: DictConfig) -> InputError:
    batch_size = OmegaConf.select(cfg, "dataloader.train.total_batch_size")
    side = OmegaConf.select(cfg, "dataloader.image_size")
    size = f"{batch_size} images" + (f" of {side} pixels" if side else "")
    return InputError(
        f"out of memory ({device}) with batches of {size}; lower dataloader.train.total_batch_size "
        "and raise train.accumulate_steps by the same factor, or lower dataloader.image_size.",
        hint="memory",
    )


def dead_worker(reason: str) -> InputError:
    """Return what is said where a loading process has died; ``reason`` is PyTorch's text."""
    bytes_left = available_memory()
    left = "" if bytes_left is None else f" ({bytes_left / _GB:.1f} GB are left now)"
    first = one_line(reason.split("Details are lost")[0].split("It is possible")[0]).rstrip(".")
    return InputError(
        f"a loading process died: {first}. Most often the machine has run out of memory{left}, or "
        "of shared memory; lower dataloader.train.num_workers and dataloader.test.num_workers, and "
        "resume the run.",
        hint="shared_memory",
    )
