"""A training loader that can start anywhere in its stream, bit for bit.

Detectron2's loader always begins its stream anew, and draws augmentations from generators that
depend on the worker. Here the i-th sample of a process and its augmentation are functions of
(seed, rank, i) alone, whatever the number of workers.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetFromList
from detectron2.data.build import trivial_batch_collator
from detectron2.data.samplers import TrainingSampler
from detectron2.utils import comm
from torch.utils.data import BatchSampler, DataLoader, Dataset

from bpt_det.utils.errors import InputError


class TrainLoader:
    """Endless shuffled batches of mapped samples for this process.

    Args:
        dataset: records, one dict a sample.
        mapper: turns a record into what the model takes; its random choices may use `random`,
            NumPy's or torch's global generator, all of which are seeded for each sample.
        total_batch_size: samples of a batch over all processes.
        num_workers: loading processes; 0 loads in this one.
        seed: of the order and of the augmentations.

    Attributes:
        mapper, total_batch_size: as given.
        dataset: the records, packed.
        class_names: what ``dataset`` calls its classes, if it has such an attribute, or None.
        start_batch: batches to skip before the first one; set it before iterating.

    Raises:
        InputError: the batch cannot be shared evenly among the processes.
    """

    def __init__(
        self,
        dataset: Sequence[dict],
        mapper: Callable[[dict], Any],
        total_batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        world_size = comm.get_world_size()
        if total_batch_size < 1 or total_batch_size % world_size:
            raise InputError(
                f"total_batch_size must be a multiple of the number of processes ({world_size}), "
                f"got {total_batch_size}."
            )
        self.mapper = mapper
        names = getattr(dataset, "class_names", None)
        self.class_names = None if names is None else list(names)
        self.samples = _SeededSamples(dataset, mapper, seed, comm.get_rank())
        self.dataset = self.samples.records  # not as given, so that the larger list is freed
        self.total_batch_size = total_batch_size
        self.batch_size = total_batch_size // world_size
        self.num_workers = num_workers
        self.seed = seed
        self.start_batch = 0

    def __iter__(self) -> Iterator[list]:
        """Yield lists of mapped samples; nothing is loaded before the first is asked for."""
        order = TrainingSampler(len(self.samples), shuffle=True, seed=self.seed)
        skipped = self.start_batch * self.batch_size
        positions = itertools.islice(enumerate(order), skipped, None)
        yield from DataLoader(
            self.samples,
            batch_sampler=BatchSampler(positions, self.batch_size, drop_last=True),
            num_workers=self.num_workers,
            collate_fn=trivial_batch_collator,
        )


class _SeededSamples(Dataset):
    """Samples by (position in the stream, index in the dataset)."""

    def __init__(
        self, dataset: Sequence[dict], mapper: Callable[[dict], Any], seed: int, rank: int
    ) -> None:
        self.records = DatasetFromList(list(dataset), copy=False)
        self.mapper = mapper
        self.seed = seed
        self.rank = rank

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        position, index = key
        seed_cpu_generators(derive_seed(self.seed, self.rank, position))
        return self.mapper(self.records[index])


def seed_cpu_generators(seed: int) -> None:
    """Seed the generators that a mapper's random choices come from.

    As Detectron2's `seed_all_rng`, but for the generators of GPUs: without a GPU in use,
    `torch.manual_seed` notes where it was called from for each kind, a millisecond a sample.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


def derive_seed(*parts: int) -> int:
    """Return a 32-bit seed that depends on every part and on their order."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
