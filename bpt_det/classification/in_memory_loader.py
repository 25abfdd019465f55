"""In-memory loader: training images kept in the memory of the device, and cropped there.

Shape legend: N images, H W size in pixels, B batch.
"""

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bpt_det.data.images import read_rgb
from bpt_det.engine.loaders import TrainLoader, position_seed
from bpt_det.engine.precision import resolve_device
from bpt_det.engine.workers import TIMEOUT
from bpt_det.utils.available_memory import available_memory
from bpt_det.utils.errors import InputError

from .batch_crops import (
    central_windows,
    draw_windows,
    draw_windows_of_resized,
    resample,
    stack_padded,
)
from .mapper import ClassificationMapper

logger = logging.getLogger(__name__)

_PROBED = 64  # images whose size stands for that of all


def build_train_loader(
    dataset: Sequence[dict],
    mapper: ClassificationMapper,
    total_batch_size: int,
    num_workers: int = 0,
    seed: int = 0,
    *,
    in_memory: bool = False,
    device: str = "auto",
    timeout: float = TIMEOUT,
) -> "TrainLoader | InMemoryLoader":
    """Return endless batches of samples, read anew every time or kept in memory.

    Args:
        dataset: records with ``file_name`` and ``image_id``.
        mapper: says how images are cropped.
        total_batch_size: samples of a batch over all processes.
        num_workers: loading processes, or threads that fill the memory.
        seed: of the order and of the crops.
        in_memory: decode every image once, keep it on ``device`` and crop there.
        device: ``auto``, ``cuda`` or ``cpu``.
        timeout: seconds to wait for a batch of the loading processes.

    Raises:
        InputError: a value cannot be used, see `TrainLoader` and `InMemoryLoader`.
    """
    if not isinstance(in_memory, bool):
        raise InputError(
            f"in_memory must be True or False, got '{in_memory}'.", parameter="in_memory"
        )
    if not in_memory:
        return TrainLoader(dataset, mapper, total_batch_size, num_workers, seed, timeout)
    device = resolve_device(device)
    return InMemoryLoader(dataset, mapper, total_batch_size, num_workers, seed, device=device)


class InMemoryLoader(TrainLoader):
    """As `TrainLoader`, but images are decoded once and cropped on their device, a batch at a time.

    The order of the images is that of `TrainLoader`; the crops are distributed as its are, and are
    a function of (seed, rank, batch) alone. They are resized as Pillow does, within a gray level.

    Args:
        dataset, mapper, total_batch_size, num_workers, seed: of `build_train_loader`.
        device: where the images are kept, ``cuda`` or ``cpu``.

    Raises:
        InputError: the batch cannot be shared evenly among the processes, or the mapper has fixed
            views.
    """

    def __init__(
        self,
        dataset: Sequence[dict],
        mapper: ClassificationMapper,
        total_batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
        *,
        device: str = "cpu",
    ) -> None:
        super().__init__(dataset, mapper, total_batch_size, num_workers, seed)
        if mapper.augment and mapper.num_views is not None:
            raise InputError(
                f"in_memory=True draws new crops each time, but num_views={mapper.num_views} "
                "asks for fixed views; set in_memory=False or num_views=null.",
                parameter="in_memory",
            )
        self.device = torch.device(device)

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """Yield lists of samples, whose ``image`` (3, S, S), uint8, is on the device.

        Raises:
            InputError: the images do not fit into the memory, or one cannot be read.
        """
        records = list(self.dataset)
        images = keep_images(records, self.device, num_threads=max(1, self.num_workers))
        sizes = np.array([image.shape[1:] for image in images])
        for number, chosen in self.batch_indexes():
            crops = self._crop([images[i] for i in chosen], sizes[chosen], number)
            yield [{**records[i], "image": crop} for i, crop in zip(chosen, crops, strict=True)]

    def _crop(self, images: Sequence[Tensor], sizes: np.ndarray, number: int) -> Tensor:
        """Return the crops of batch ``number``, (B, 3, S, S)."""
        size = self.mapper.image_size
        random = np.random.default_rng(position_seed(self.seed, number))
        if self.mapper.augment:
            if self.mapper.crop == "resized":
                windows = draw_windows(sizes, size, self.mapper.min_area, random)
            else:
                windows = draw_windows_of_resized(sizes, size, self.mapper.resize_size, random)
            is_flipped = random.uniform(size=len(images)) < 0.5
        else:
            windows = central_windows(sizes, size, self.mapper.resize_size)
            is_flipped = np.zeros(len(images), dtype=bool)
        interpolation = self.mapper.interpolation
        return resample(stack_padded(images), *windows, size, is_flipped, interpolation)


def keep_images(
    records: Sequence[dict[str, Any]], device: torch.device, *, num_threads: int = 1
) -> list[Tensor]:
    """Return the images of records, each (3, H, W), uint8, on a device.

    Raises:
        InputError: they do not fit into its memory, or one cannot be read.
    """
    start = time.perf_counter()
    with ThreadPoolExecutor(num_threads) as pool:
        probed = list(pool.map(_read, records[:_PROBED]))
        mean = sum(image.nbytes for image in probed) / len(probed)
        _check_memory(round(mean * len(records)), len(records), device)
        rest = pool.map(_read, records[_PROBED:])
        images = [image.to(device) for image in itertools.chain(probed, rest)]
    logger.info(
        "%d images are kept in memory: %.2f GB, read in %.1f s",
        len(images),
        sum(image.nbytes for image in images) / 1e9,
        time.perf_counter() - start,
    )
    return images


def _read(record: dict[str, Any]) -> Tensor:
    return torch.from_numpy(read_rgb(record["file_name"])).permute(2, 0, 1).contiguous()


def _check_memory(needed: int, count: int, device: torch.device) -> None:
    is_cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if is_cuda else available_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{count} images of about {needed / 1e9:.1f} GB do not fit into the memory of "
            f"{device.type}, {free / 1e9:.1f} GB of which are free; set in_memory=False.",
            parameter="in_memory",
        )
