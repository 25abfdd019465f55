"""The tokens before the first prompted block, computed once instead of in every epoch.

Shape legend: S samples (a view of an image each), T = 1 + N tokens of a sample, D embed_dim.
"""

import hashlib
import logging
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from detectron2.utils import comm
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from bpt_det.utils.errors import InputError
from bpt_det.vit import fingerprint

from .feature_cache_checks import (
    CACHE_OFF,
    in_gb,
    refuse_full_disk,
    refuse_full_memory,
    refuse_what_changes,
)
from .token_store import BYTES_PER_NUMBER, TokenCache, is_complete, locked, token_file

logger = logging.getLogger(__name__)

_BATCH_SIZE = 32


class ViewMapper(Protocol):
    """What makes the views: `ClassificationMapper`."""

    num_views: int | None
    image_size: int
    description: str

    def make_view(self, record: dict[str, Any], view: int) -> dict[str, Any]: ...


class PrefixCache:
    """What enters the first prompted block, in bfloat16, for each fixed view of each image.

    Of a frozen ViT it depends on the image alone. It lies in memory, or in a memory-mapped file
    that all processes share and a later run takes again if it is of the same ViT, blocks, images
    and views.

    Args:
        enabled: False: `fill` does nothing.
        folder: of the files; None: memory.
        num_workers: loading processes while it is filled; 0 loads in this one.

    Raises:
        InputError: ``enabled`` is no truth value.
    """

    def __init__(
        self, enabled: bool = False, folder: str | Path | None = None, num_workers: int = 0
    ) -> None:
        if not isinstance(enabled, bool):
            raise InputError(f"dataloader.cache_prefix must be True or False, got '{enabled}'.")
        self.enabled = enabled
        self.folder = None if folder is None else Path(folder)
        self.num_workers = num_workers
        self._tokens: TokenCache | None = None
        self._rows: dict[str, int] = {}  # of the first view of each image
        self._description: dict | None = None  # of the tokens, in the main process
        self._is_planned = False

    @property
    def is_filled(self) -> bool:
        """Whether `read` can be called."""
        return self._tokens is not None

    def plan(self, model: nn.Module, records: Iterable[dict], mapper: ViewMapper) -> None:
        """Say how large the cache will be and refuse it if it cannot be; arguments as of `fill`.

        Raises:
            InputError: the tokens do not depend on fixed views alone, none are before the first
                prompted block, or they do not fit.
        """
        if not self.enabled:
            if self.folder is not None:
                logger.warning("dataloader.cache_dir is not used, as %s", CACHE_OFF)
            return
        model = getattr(model, "module", model)
        refuse_what_changes(model.backbone, mapper.num_views)
        records = _each_once(records)
        shape = _shape_of(model, len(records), mapper)
        logger.info(
            "Prefix cache: %d images x %d views x %d tokens x %d x %d bytes = %s, in %s",
            *(len(records), mapper.num_views, *shape[1:], BYTES_PER_NUMBER, in_gb(_size(shape))),
            "memory" if self.folder is None else f"'{self.folder}'",
        )
        self._is_planned = True
        if self.folder is None:
            refuse_full_memory(_size(shape))
        elif comm.is_main_process():
            self._description = _describe(model, records, mapper)
            with locked(self.folder):  # refused if it cannot be written
                if not self._path.exists():
                    refuse_full_disk(self.folder, _size(shape))

    def fill(self, model: nn.Module, records: Iterable[dict], mapper: ViewMapper) -> None:
        """Compute the tokens of all images, or find them in a file; call it in every process.

        Args:
            model: `PromptedClassifier`, or one that is wrapped for several processes; it decides
                about the blocks and computes on its device, in its number format.
            records: of the images, each with an ``image_id`` of its own.
            mapper: makes their views.

        Raises:
            InputError: as of `plan`, which is called if it has not been; or the file cannot be
                written, or an image not read.
        """
        if not self.enabled:
            return
        if not self._is_planned:
            self.plan(model, records, mapper)
        model = getattr(model, "module", model)
        records = _each_once(records)
        self._rows = {
            record["image_id"]: index * mapper.num_views for index, record in enumerate(records)
        }
        views, shape = _Views(records, mapper), _shape_of(model, len(records), mapper)
        if self.folder is not None:
            self._tokens = self._fill_file(model, views, shape)
            return
        refuse_full_memory(_size(shape))  # another cache may have been filled since it was planned
        tokens = TokenCache.in_memory(shape)
        self._compute(model, views, tokens, range(len(views)))
        self._tokens = tokens

    def read(self, image_id: str, view: int) -> Tensor:
        """Return the tokens of a view, (T, D) bfloat16."""
        return self._tokens.read(self._rows[image_id] + view)

    @property
    def _path(self) -> Path:
        digest = hashlib.sha256(repr(sorted(self._description.items())).encode()).hexdigest()
        return self.folder / f"tokens_{digest[:16]}.npy"

    def _fill_file(
        self, model: nn.Module, views: "_Views", shape: tuple[int, int, int]
    ) -> TokenCache:
        """The main process decides about the file; every process computes its share of it."""
        rank, world_size = comm.get_rank(), comm.get_world_size()
        share = range(len(views) * rank // world_size, len(views) * (rank + 1) // world_size)
        if rank > 0:
            path, partial = comm.all_gather(None)[0]
            if partial is not None:
                self._compute(model, views, TokenCache.of_file(partial, is_writable=True), share)
                comm.synchronize()
            comm.synchronize()
            return TokenCache.of_file(path)
        path = self._path
        with locked(self.folder):
            if is_complete(path, shape, self._description):
                logger.info("Prefix cache: using '%s' again", path)
                comm.all_gather((path, None))
            else:
                refuse_full_disk(self.folder, _size(shape))
                with token_file(path, shape, self._description) as partial:
                    comm.all_gather((path, partial))
                    tokens = TokenCache.of_file(partial, is_writable=True)
                    self._compute(model, views, tokens, share)
                    comm.synchronize()
        comm.synchronize()
        return TokenCache.of_file(path)

    @torch.no_grad()
    def _compute(self, model: nn.Module, views: "_Views", tokens: TokenCache, share: range) -> None:
        """Fill a range of rows."""
        device = model.pixel_mean.device
        loader = DataLoader(
            views,
            sampler=share,
            batch_size=_BATCH_SIZE,
            num_workers=self.num_workers,
            generator=torch.Generator(),  # else it would draw from that of the training
        )
        disable = None if comm.is_main_process() else True
        row, start = share.start, time.perf_counter()
        with tqdm(total=len(share), desc="prefix cache", disable=disable) as progress:
            for images in loader:
                with torch.autocast(device.type, enabled=False):
                    normalized = model.normalize(images.to(device))
                    tokens.write(row, model.backbone.prefix_tokens(normalized))
                row += len(images)
                progress.update(len(images))
        logger.info("Prefix cache: computed in %.0f s", time.perf_counter() - start)


class _Views(Dataset):
    """Images (3, H, W) by row: all views of the first record, then those of the next."""

    def __init__(self, records: Sequence[dict], mapper: ViewMapper) -> None:
        self.records = records
        self.mapper = mapper

    def __len__(self) -> int:
        return len(self.records) * self.mapper.num_views

    def __getitem__(self, row: int) -> Tensor:
        index, view = divmod(row, self.mapper.num_views)
        return self.mapper.make_view(self.records[index], view)["image"]


def _describe(
    model: nn.Module, records: Sequence[dict], mapper: ViewMapper
) -> dict[str, int | str | list[float]]:
    """Return all that the tokens depend on."""
    images = hashlib.sha256()
    for record in records:
        status = _status(record["file_name"])
        images.update(f"{record['image_id']} {status.st_size} {status.st_mtime_ns}\n".encode())
    return {
        "vit": fingerprint(model.backbone.vit),
        "first_prompted_block": model.backbone.first_prompted_block,
        "num_images": len(records),
        "images": images.hexdigest(),
        "num_views": mapper.num_views,
        "views": mapper.description,
        "pixel_mean": model.pixel_mean.flatten().tolist(),
        "pixel_std": model.pixel_std.flatten().tolist(),
    }


def _status(file_name: str) -> os.stat_result:
    """Return size and time of a file, or of the archive that it lies in."""
    path = Path(file_name)
    for candidate in (path, *path.parents):
        try:
            return candidate.stat()
        except NotADirectoryError:  # inside an archive
            continue
        except OSError as error:
            raise InputError(f"'{file_name}' cannot be read ({error})") from error
    raise InputError(f"'{file_name}' does not exist")


def _size(shape: tuple[int, int, int]) -> int:
    """Return bytes."""
    return shape[0] * shape[1] * shape[2] * BYTES_PER_NUMBER


def _each_once(records: Iterable[dict]) -> list[dict]:
    return list({record["image_id"]: record for record in records}.values())


def _shape_of(model: nn.Module, num_images: int, mapper: ViewMapper) -> tuple[int, int, int]:
    """Return (S, T, D)."""
    backbone = model.backbone
    rows, columns = backbone.grid_size(mapper.image_size, mapper.image_size)
    num_tokens = backbone.vit.num_prefix_tokens + rows * columns
    return num_images * mapper.num_views, num_tokens, backbone.embed_dim
