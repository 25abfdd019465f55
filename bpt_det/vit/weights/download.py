"""Weights from the network: downloaded once, and kept under their whole address."""

import hashlib
import logging
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError, one_line
from bpt_det.utils.progress import progress_bar

logger = logging.getLogger(__name__)

_TIMEOUT = 60  # seconds without an answer
_CHUNK = 1 << 20  # bytes


def is_address(location: str) -> bool:
    """Return whether weights are on the network, at an http(s) address."""
    return re.match(r"https?://", location, re.IGNORECASE) is not None


def cached_path(address: str) -> Path:
    """Return where the file of an address is kept: in torch's cache, beside a hash of the address.

    Files of one name at other addresses, or with another query, are other files.
    """
    try:
        path = Path(urlparse(address).path)
    except ValueError as error:
        raise InputError(f"'{address}' is no address ({error}).") from error
    digest = hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    stem = re.sub(r"[^\w.-]", "_", path.stem)[:80]
    suffix = path.suffix if re.fullmatch(r"\.\w{1,20}", path.suffix) else ""
    return Path(torch.hub.get_dir()) / "checkpoints" / f"{stem}-{digest}{suffix}"


def download(address: str) -> Path:
    """Return the local path of an address's file, which is downloaded if it is not there yet.

    Raises:
        InputError: there is no answer, the file is cut, or it cannot be written.
    """
    path = cached_path(address)
    if path.is_file():
        return path
    logger.info("Downloading %s to %s", address, path)
    advice = "download it elsewhere and give its path."
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "bpt_det"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            expected = _length_of(answer)
            with atomic_write(path, is_shared=True) as partial:  # by every rank of a run
                received = _copy(answer, partial, expected)
                if expected is not None and received != expected:
                    raise InputError(
                        f"the download of '{address}' ended after {received:,} of {expected:,} "
                        f"bytes and was not kept; try again, or {advice}"
                    )
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot download '{address}' ({one_line(error)}); {advice}") from error
    return path


def _length_of(answer: Any) -> int | None:
    text = answer.headers.get("Content-Length") or ""
    return int(text) if text.isascii() and text.isdigit() else None


def _copy(answer: Any, path: Path, expected: int | None) -> int:
    """Write an answer into a file; return the number of bytes."""
    received = 0
    bar = progress_bar(total=expected, unit="B", unit_scale=True, leave=False)
    with path.open("wb") as file, bar:
        while chunk := answer.read(_CHUNK):
            received += file.write(chunk)
            bar.update(len(chunk))
    return received
