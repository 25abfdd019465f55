"""The tokens before the first prompted block, computed once instead of in every epoch.

Shape legend: S samples (a view of an image each), T = 1 + N tokens of a sample, D embed_dim.
"""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from detectron2.utils import comm
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from bpt_det.errors import InputError, shorten
from bpt_det.memory import available_memory
from bpt_det.vit import PromptedViT, fingerprint
from bpt_det.vit.token_cache import BYTES_PER_NUMBER, TokenCache, is_complete, locked, token_file

logger = logging.getLogger(__name__)

_BATCH_SIZE = 32
_MEMORY_SHARE = 0.9  # of what is available; the rest is left to the training
_OFF = "dataloader.cache_prefix=False"
_LESS = "fewer dataloader.train.mapper.num_views, a smaller dataloader.fraction"


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

    @property
    def is_filled(self) -> bool:
        """Whether `read` can be called."""
        return self._tokens is not None

    def fill(self, model: nn.Module, records: Iterable[dict], mapper: ViewMapper) -> None:
        """Compute the tokens of all images, or find them in a file; call it in every process.

        Args:
            model: `PromptedClassifier`, or one that is wrapped for several processes; it decides
                about the blocks and computes on its device, in its number format.
            records: of the images, each with an ``image_id`` of its own.
            mapper: makes their views.

        Raises:
            InputError: the tokens do not depend on fixed views alone, none are before the first
                prompted block, they do not fit, the file cannot be written, or an image not read.
        """
        if not self.enabled:
            if self.folder is not None:
                logger.warning("dataloader.cache_dir is not used, as %s", _OFF)
            return
        model = getattr(model, "module", model)
        _refuse_what_changes(model.backbone, mapper)
        records = list({record["image_id"]: record for record in records}.values())
        self._rows = {
            record["image_id"]: index * mapper.num_views for index, record in enumerate(records)
        }
        views = _Views(records, mapper)
        size = mapper.image_size
        rows, columns = model.backbone.grid_size(size, size)
        num_tokens = model.backbone.vit.num_prefix_tokens + rows * columns
        shape = (len(views), num_tokens, model.backbone.embed_dim)
        self._announce(len(records), mapper.num_views, shape)
        if self.folder is None:
            self._tokens = self._fill_memory(model, views, shape)
        else:
            self._tokens = self._fill_file(model, views, shape, _describe(model, records, mapper))

    def read(self, image_id: str, view: int) -> Tensor:
        """Return the tokens of a view, (T, D) bfloat16."""
        return self._tokens.read(self._rows[image_id] + view)

    def _announce(self, num_images: int, num_views: int, shape: tuple[int, int, int]) -> None:
        logger.info(
            "Prefix cache: %d images x %d views x %d tokens x %d x %d bytes = %s, in %s",
            *(num_images, num_views, *shape[1:], BYTES_PER_NUMBER, _in_gb(_size(shape))),
            "memory" if self.folder is None else f"'{self.folder}'",
        )

    def _fill_memory(
        self, model: nn.Module, views: "_Views", shape: tuple[int, int, int]
    ) -> TokenCache:
        if comm.get_world_size() > 1:
            raise InputError(
                "dataloader.cache_prefix=True in memory would keep a copy in each of the "
                f"{comm.get_world_size()} processes; give dataloader.cache_dir=FOLDER, which they "
                f"share, or {_OFF}."
            )
        size, available = _size(shape), available_memory()
        if available is not None and size > _MEMORY_SHARE * available:
            raise InputError(
                f"the prefix cache needs {_in_gb(size)} of memory, but {_in_gb(available)} are "
                f"available, of which it may take {_MEMORY_SHARE:.0%}; give "
                f"dataloader.cache_dir=FOLDER to keep it in a file, {_LESS}, or {_OFF}."
            )
        tokens = TokenCache.in_memory(shape)
        self._compute(model, views, tokens, range(len(views)))
        return tokens

    def _fill_file(
        self,
        model: nn.Module,
        views: "_Views",
        shape: tuple[int, int, int],
        description: Mapping[str, object],
    ) -> TokenCache:
        digest = hashlib.sha256(repr(sorted(description.items())).encode()).hexdigest()
        path = self.folder / f"tokens_{digest[:16]}.npy"
        rank, world_size = comm.get_rank(), comm.get_world_size()
        share = range(len(views) * rank // world_size, len(views) * (rank + 1) // world_size)
        if rank > 0:
            partial = comm.all_gather(None)[0]
            if partial is not None:
                self._compute(model, views, TokenCache.of_file(partial, is_writable=True), share)
                comm.synchronize()
            comm.synchronize()
            return TokenCache.of_file(path)
        with locked(self.folder):
            if is_complete(path, shape, description):
                logger.info("Prefix cache: using '%s' again", path)
                comm.all_gather(None)
            else:
                _refuse_full_disk(self.folder, _size(shape))
                with token_file(path, shape, description) as partial:
                    comm.all_gather(partial)
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


def _refuse_what_changes(backbone: PromptedViT, mapper: ViewMapper) -> None:
    """Refuse tokens that a training changes, or that are of endlessly many views."""
    if not backbone.frozen:
        raise InputError(
            "dataloader.cache_prefix=True needs a frozen ViT, but model.backbone.frozen=False "
            f"trains it and with it what would be kept; set {_OFF}."
        )
    if backbone.first_prompted_block == 0:
        blocks = shorten(list(backbone.prompts), 4)
        raise InputError(
            "dataloader.cache_prefix=True keeps what enters the first prompted block, but "
            f"model.backbone.placement prompts block {blocks}, so that is the very first; use a "
            f"placement that begins later, as last_4 or [6,9], or set {_OFF}."
        )
    if mapper.num_views is None:
        raise InputError(
            "dataloader.cache_prefix=True needs views that do not change, but "
            "dataloader.train.mapper.num_views=null draws new ones endlessly; set it to a number, "
            f"for instance 4, or set dataloader.train.mapper.augment=False or {_OFF}."
        )


def _refuse_full_disk(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"the prefix cache needs {_in_gb(size)} of disk space, but {_in_gb(free)} are free in "
            f"'{folder}'; give another folder with dataloader.cache_dir, {_LESS}, or {_OFF}."
        )


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


def _in_gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
