"""Token store: tokens of many images, bfloat16, in memory or in a memory-mapped file.

Shape legend: S samples, T tokens of a sample, D embed_dim.
"""

import contextlib
import fcntl
import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError, one_line

logger = logging.getLogger(__name__)

# NumPy has no bfloat16; its two bytes are stored as they are.
_DTYPE, _TORCH_DTYPE = np.int16, torch.int16
_CHUNK = 1 << 26  # bytes


class TokenStore:
    """Tokens (T, D) by row.

    Args:
        bits: (S, T, D) int16, the bytes of bfloat16 numbers; an array in memory or a mapped file.
    """

    bytes_per_number = 2

    def __init__(self, bits: np.ndarray) -> None:
        self._bits = bits

    @classmethod
    def in_memory(cls, shape: tuple[int, int, int]) -> "TokenStore":
        """Return one whose rows are still to be written."""
        return cls(np.empty(shape, _DTYPE))

    @classmethod
    def of_file(cls, path: str | Path, *, is_writable: bool = False) -> "TokenStore":
        """Return one whose rows are those of a file; nothing is read before it is asked for.

        Raises:
            InputError: it cannot be opened.
        """
        try:
            return cls(np.load(path, mmap_mode="r+" if is_writable else "r"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"tokens cannot be read from '{path}' ({one_line(error)}); cache_dir must be a "
                "folder that all machines of the run share.",
                parameter="cache_dir",
            ) from error

    def __len__(self) -> int:
        """S."""
        return len(self._bits)

    def write(self, start: int, tokens: Tensor) -> None:
        """Keep tokens (B, T, D), rounded to bfloat16, in the rows from ``start`` on."""
        rounded = tokens.to("cpu", torch.bfloat16).contiguous()
        self._bits[start : start + len(rounded)] = rounded.view(_TORCH_DTYPE).numpy()

    def read(self, row: int) -> Tensor:
        """Return a copy of a row, (T, D) bfloat16.

        A copy, because a loading process that passes on a view of a tensor passes on all of it.
        """
        return torch.from_numpy(np.array(self._bits[row])).view(torch.bfloat16)


@dataclass(frozen=True)
class CachedFeatures:
    """Tokens of images and views; in place of the images, a mapper hands them to the model.

    Args:
        store: the tokens by row.
        rows: of the first view of each image, by image_id.
    """

    store: TokenStore
    rows: dict[str, int]

    def read(self, image_id: str, view: int) -> Tensor:
        """Return the tokens of a view, (T, D) bfloat16."""
        return self.store.read(self.rows[image_id] + view)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process writes a token file in a folder, and keep it so.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise InputError(
            f"cannot write to '{folder}' ({error}); give another folder with cache_dir.",
            parameter="cache_dir",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("Waiting for another run that writes to '%s'", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise InputError(
                f"'{folder}' cannot be locked ({error}); give a folder of a file system with locks "
                "with cache_dir.",
                parameter="cache_dir",
            ) from error
        yield


@contextlib.contextmanager
def token_file(
    path: Path, shape: tuple[int, int, int], description: Mapping[str, object]
) -> Iterator[Path]:
    """Give a file of zeros to fill, which becomes ``path`` when it is full.

    Beside it a ``.json`` says what it holds, and its checksum; written last, so that without it a
    file is not complete. The disk space is taken at the beginning.

    Args:
        path: ends with ``.npy``.
        shape: (S, T, D).
        description: what the tokens are of; numbers, texts, lists and dicts.

    Raises:
        InputError: it cannot be written.
    """
    path.with_suffix(".json").unlink(missing_ok=True)
    with atomic_write(path) as partial:
        bits = np.lib.format.open_memmap(partial, mode="w+", dtype=_DTYPE, shape=shape)
        if hasattr(os, "posix_fallocate"):  # a full disk would else kill the process as it writes
            with partial.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
        yield partial
        bits.flush()
        checksum = _checksum(bits)
    with atomic_write(path.with_suffix(".json")) as partial:
        partial.write_text(json.dumps({**description, "crc32": checksum}, indent=1))


def is_complete(path: Path, shape: tuple[int, int, int], description: Mapping[str, object]) -> bool:
    """Return whether `token_file` has finished a file; one that has changed since is reported.

    Reads all of it, to compare its checksum. Arguments as of `token_file`.
    """
    try:
        stored = json.loads(path.with_suffix(".json").read_text())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        stored = None
    try:
        bits = np.load(path, mmap_mode="r")
        is_whole = bits.shape == shape and bits.dtype == _DTYPE
        if is_whole and stored == {**description, "crc32": _checksum(bits)}:
            return True
    except (OSError, ValueError, EOFError):  # missing, or cut
        pass
    logger.warning("'%s' is damaged and will be computed again", path)
    return False


def _checksum(bits: np.ndarray) -> int:
    flat = bits.reshape(-1).view(np.uint8)
    checksum = 0
    for start in range(0, flat.size, _CHUNK):
        checksum = zlib.crc32(flat[start : start + _CHUNK], checksum)
    return checksum
