"""Feature cache: what enters the first trained block, computed once instead of in every epoch.

Shape legend: S samples (a view of an image each), T = 1 + N tokens of a sample, D embed_dim.
"""

import hashlib
import logging
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.data.build import trivial_batch_collator
from detectron2.utils import comm
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bpt_det.data.archives import file_status
from bpt_det.engine.workers import raise_input_errors
from bpt_det.utils.available_memory import available_memory
from bpt_det.utils.errors import InputError, shorten
from bpt_det.utils.progress import progress_bar
from bpt_det.vit import PromptedViT, fingerprint

from .in_memory_loader import InMemoryLoader
from .mapper import ClassificationMapper
from .token_store import CachedFeatures, TokenStore, is_complete, locked, token_file

logger = logging.getLogger(__name__)

_BATCH_SIZE = 32
_MEMORY_SHARE = 0.9  # of what is available; the rest is left to the training
_LESS = "fewer num_views or a smaller fraction, or set cache_prefix=False"


class FeatureCache:
    """What enters the first prompted or tuned block of a frozen ViT, bfloat16, for each image view.

    It lies in memory, or in a memory-mapped file that all processes share and a later run takes
    again if it is of the same ViT, blocks, images and views.

    Args:
        cache_prefix: False: `fill` does nothing.
        cache_dir: folder of the files; None: memory.

    Raises:
        InputError: ``cache_prefix`` is not a bool.
    """

    def __init__(self, cache_prefix: bool = False, cache_dir: str | Path | None = None) -> None:
        if not isinstance(cache_prefix, bool):
            raise InputError(
                f"cache_prefix must be True or False, got '{cache_prefix}'.",
                parameter="cache_prefix",
            )
        self.enabled = cache_prefix
        self.folder = None if cache_dir is None else Path(cache_dir)

    def fill(self, model: nn.Module, loaders: Sequence[Any]) -> None:
        """Compute the tokens of all images, or take them from files, and hand them to the mappers.

        Called in every process, before iterating: loading processes get copies of the mapper.

        Args:
            model: `PromptedClassifier`, or one that is wrapped for several processes; it decides
                about the blocks and computes on its device, in its number format.
            loaders: with ``dataset``, ``mapper`` and ``num_workers``.

        Raises:
            InputError: the tokens do not depend on fixed views alone, none are before the first
                trained block, or they do not fit: nothing has been computed then. Or a file
                cannot be written, or an image not read.
        """
        if not self.enabled:
            if self.folder is not None:
                logger.warning("cache_dir is not used, as cache_prefix=False")
            return
        model = getattr(model, "module", model)
        jobs = [self._plan(model, loader) for loader in loaders]
        for job in jobs:
            job.mapper.features = CachedFeatures(self._compute_or_find(model, job), job.rows)

    def _plan(self, model: nn.Module, loader: Any) -> "_Job":
        """Say how large a loader's tokens will be and refuse what cannot be cached."""
        if isinstance(loader, InMemoryLoader):
            raise InputError(
                "in_memory=True draws new crops each time, but the feature cache needs views "
                "that do not change; set in_memory=False or cache_prefix=False.",
                parameter="in_memory",
            )
        _check_fixed(model.backbone, loader.mapper.num_views)
        records = list({record["image_id"]: record for record in loader.dataset}.values())
        shape = _shape_of(model, len(records), loader.mapper)
        job = _Job(records, loader.mapper, loader.num_workers, shape)
        logger.info(
            "Feature cache: %d images x %d views x %d tokens x %d x %d bytes = %s, in %s",
            len(records),
            job.mapper.num_views,
            shape[1],
            shape[2],
            TokenStore.bytes_per_number,
            _in_gb(job.size),
            "memory" if self.folder is None else f"'{self.folder}'",
        )
        if self.folder is None:
            _check_memory(job.size)
        elif comm.is_main_process():
            job.description = _describe(model, records, job.mapper)
            with locked(self.folder):  # refused if it cannot be written
                if not self._path_of(job).exists():
                    _check_disk(self.folder, job.size)
        return job

    def _compute_or_find(self, model: nn.Module, job: "_Job") -> TokenStore:
        if self.folder is not None:
            return self._fill_file(model, job)
        _check_memory(job.size)  # another loader's tokens may have been computed meanwhile
        store = TokenStore.in_memory(job.shape)
        _compute(model, job, store, range(job.shape[0]))
        return store

    def _fill_file(self, model: nn.Module, job: "_Job") -> TokenStore:
        """The main process decides about the file; every process computes its share of it."""
        rank, world_size, num_rows = comm.get_rank(), comm.get_world_size(), job.shape[0]
        share = range(num_rows * rank // world_size, num_rows * (rank + 1) // world_size)
        if rank > 0:
            path, partial = comm.all_gather(None)[0]
            if partial is not None:
                _compute(model, job, TokenStore.of_file(partial, is_writable=True), share)
                comm.synchronize()
            comm.synchronize()
            return TokenStore.of_file(path)
        path = self._path_of(job)
        with locked(self.folder):
            if is_complete(path, job.shape, job.description):
                logger.info("Feature cache: using '%s' again", path)
                comm.all_gather((path, None))
            else:
                _check_disk(self.folder, job.size)
                with token_file(path, job.shape, job.description) as partial:
                    comm.all_gather((path, partial))
                    store = TokenStore.of_file(partial, is_writable=True)
                    _compute(model, job, store, share)
                    comm.synchronize()
        comm.synchronize()
        return TokenStore.of_file(path)

    def _path_of(self, job: "_Job") -> Path:
        digest = hashlib.sha256(repr(sorted(job.description.items())).encode()).hexdigest()
        return self.folder / f"tokens_{digest[:16]}.npy"


@dataclass
class _Job(Dataset):
    """The tokens of one loader; as a dataset, images (3, H, W) by row: image by image, all views.

    ``shape`` is (S, T, D); ``description``, known in the main process, is all that they depend on.
    """

    records: Sequence[dict]
    mapper: ClassificationMapper
    num_workers: int
    shape: tuple[int, int, int]
    description: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        """Bytes of the tokens."""
        return math.prod(self.shape) * TokenStore.bytes_per_number

    @property
    def rows(self) -> dict[str, int]:
        """Row of the first view of each image."""
        num_views = self.mapper.num_views
        return {record["image_id"]: i * num_views for i, record in enumerate(self.records)}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int) -> Tensor | InputError:
        index, view = divmod(row, self.mapper.num_views)
        try:
            return self.mapper.make_view(self.records[index], view)["image"]
        except InputError as error:  # see `raise_input_errors`
            return error


@torch.no_grad()
def _compute(model: nn.Module, job: _Job, store: TokenStore, share: range) -> None:
    """Fill a range of rows."""
    device = model.pixel_mean.device
    loader = DataLoader(
        job,
        sampler=share,
        batch_size=_BATCH_SIZE,
        num_workers=job.num_workers,
        collate_fn=trivial_batch_collator,
        generator=torch.Generator(),  # else it would draw from that of the training
    )
    row, start = share.start, time.perf_counter()
    with progress_bar(total=len(share), desc="feature cache", unit=" images") as progress:
        for images in raise_input_errors(loader):
            with torch.autocast(device.type, enabled=False):
                normalized = model.normalize(torch.stack(images).to(device))
                store.write(row, model.backbone.prefix_tokens(normalized))
            row += len(images)
            progress.update(len(images))
    logger.info("Feature cache: computed in %.0f s", time.perf_counter() - start)


def _shape_of(
    model: nn.Module, num_images: int, mapper: ClassificationMapper
) -> tuple[int, int, int]:
    """Return (S, T, D)."""
    backbone = model.backbone
    rows, columns = backbone.grid_size(mapper.image_size, mapper.image_size)
    num_tokens = backbone.vit.num_prefix_tokens + rows * columns
    return num_images * mapper.num_views, num_tokens, backbone.embed_dim


def _describe(
    model: nn.Module, records: Sequence[dict], mapper: ClassificationMapper
) -> dict[str, Any]:
    """Return all that the tokens depend on."""
    images = hashlib.sha256()
    for record in records:
        status = file_status(record["file_name"])
        text = f"{record['image_id']} {status.st_size} {status.st_mtime_ns}\n"
        images.update(text.encode("utf-8", "surrogateescape"))
    return {
        "vit": fingerprint(model.backbone.vit),
        "first_trained_block": model.backbone.first_trained_block,
        "num_images": len(records),
        "images": images.hexdigest(),
        "num_views": mapper.num_views,
        "views": mapper.description,
        "pixel_mean": model.pixel_mean.flatten().tolist(),
        "pixel_std": model.pixel_std.flatten().tolist(),
    }


def _check_fixed(backbone: PromptedViT, num_views: int | None) -> None:
    """Check that no training changes the tokens, and that there are so many views and no more."""
    if not backbone.frozen:
        raise InputError(
            "the feature cache needs a frozen ViT, but frozen=False trains it; set "
            "cache_prefix=False.",
            parameter="frozen",
        )
    if backbone.first_trained_block == 0:
        what = "prompts" if "0" in backbone.prompts else "tunes"
        blocks = backbone.prompts if what == "prompts" else backbone.tuning.blocks
        raise InputError(
            f"the feature cache keeps what enters the first trained block, but placement {what} "
            f"block {shorten(list(blocks), 4)}, so there is nothing before it to keep; "
            "use a placement that starts later, as last_4 or [6,9], or set cache_prefix=False.",
            parameter="placement",
        )
    if num_views is None:
        raise InputError(
            "the feature cache needs views that do not change, but num_views=null draws new ones "
            "each time; set it to a number, for instance 4, or set augment=False or "
            "cache_prefix=False.",
            parameter="num_views",
        )


def _check_memory(size: int) -> None:
    """Check that so many bytes fit into memory, that of a single process."""
    if comm.get_world_size() > 1:
        raise InputError(
            f"the feature cache in memory would be held by each of the {comm.get_world_size()} "
            "processes; give cache_dir=FOLDER, which they share, or set cache_prefix=False.",
            parameter="cache_dir",
        )
    available = available_memory()
    if available is not None and size > _MEMORY_SHARE * available:
        raise InputError(
            f"the feature cache needs {_in_gb(size)} of memory, but {_in_gb(available)} are "
            f"available, of which it may take {_MEMORY_SHARE:.0%}; give cache_dir=FOLDER to keep "
            f"it in a file, {_LESS}.",
            parameter="cache_dir",
        )


def _check_disk(folder: Path, size: int) -> None:
    """Check that a file of so many bytes fits into a folder."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"the feature cache needs {_in_gb(size)} of disk space, but {_in_gb(free)} are free in "
            f"'{folder}'; give another folder with cache_dir, {_LESS}.",
            parameter="cache_dir",
        )


def _in_gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
