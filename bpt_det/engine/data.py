"""A training loader that can start anywhere in its stream, bit for bit.

Detectron2's loader always begins its stream anew, and draws augmentations from generators that
depend on the worker. Here the i-th sample of a process and its augmentation are functions of
(seed, rank, i) alone, whatever the number of workers.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from detectron2.data import DatasetFromList, MapDataset
from detectron2.data.build import trivial_batch_collator
from detectron2.data.samplers import InferenceSampler, TrainingSampler
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset

from bpt_det.errors import InputError


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
        dataset, mapper, total_batch_size: as given.
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
        self.dataset = dataset
        self.mapper = mapper
        names = getattr(dataset, "class_names", None)
        self.class_names = None if names is None else list(names)
        self.samples = _SeededSamples(dataset, mapper, seed, comm.get_rank())
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
    """Samples by (position in the stream, index in the data set)."""

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
        seed_all_rng(derive_seed(self.seed, self.rank, position))
        return self.mapper(self.records[index])


class TestLoader:
    """Batches of every mapped sample once, shared among the processes, in the data set's order.

    Attributes:
        dataset, mapper, batch_size: as given to `build_test_loader`.
    """

    __test__ = False  # pytest takes the name for a test's

    def __init__(
        self,
        dataset: Sequence[dict],
        mapper: Callable[[dict], Any],
        batch_size: int,
        num_workers: int,
    ) -> None:
        self.dataset = dataset
        self.mapper = mapper
        self.batch_size = batch_size
        self._batches = DataLoader(
            MapDataset(DatasetFromList(list(dataset), copy=False), mapper),
            batch_size=batch_size,
            sampler=InferenceSampler(len(dataset)),
            num_workers=num_workers,
            collate_fn=trivial_batch_collator,
        )

    def __len__(self) -> int:
        """Return the number of batches of this process."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list]:
        """Yield lists of mapped samples."""
        return iter(self._batches)


def build_test_loader(
    dataset: Sequence[dict],
    mapper: Callable[[dict], Any],
    batch_size: int = 1,
    num_workers: int = 0,
) -> TestLoader:
    """Return a loader to evaluate with; Detectron2 0.6 has one for single samples only.

    Args:
        dataset: records, one dict a sample.
        mapper: turns a record into what the model takes.
        batch_size: samples of a batch of one process; the last batch may be smaller.
        num_workers: loading processes; 0 loads in this one.

    Raises:
        InputError: there is no record, or ``batch_size`` is below 1.
    """
    if not len(dataset):
        raise InputError("the data set to evaluate on holds no sample; name another split or set.")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(
            f"batch_size of an evaluation must be a whole number from 1 on, got {batch_size!r}."
        )
    return TestLoader(dataset, mapper, batch_size, num_workers)


def prepare_loader(loader: Iterable, model: nn.Module) -> None:
    """Let a loader's mapper make ready for the samples it will be asked for.

    Calls ``mapper.prepare(model, dataset)`` if there is such a method, in every process. To be
    called before iterating, as loading processes get copies of the mapper.

    Args:
        loader: its attributes ``mapper`` and ``dataset`` are used, if it has them.
        model: what its samples are for, with the weights it starts from.
    """
    prepare = getattr(getattr(loader, "mapper", None), "prepare", None)
    if prepare is not None:
        prepare(model, loader.dataset)


def derive_seed(*parts: int) -> int:
    """Return a 32-bit seed that depends on every part and on their order."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
