"""Loaders to evaluate with, and what loaders of any kind do before their first sample."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from detectron2.data import DatasetFromList, MapDataset
from detectron2.data.build import trivial_batch_collator
from detectron2.data.samplers import InferenceSampler
from torch import nn
from torch.utils.data import DataLoader

from bpt_det.utils.errors import InputError


class TestLoader:
    """Batches of every mapped sample once, shared among the processes, in the dataset's order.

    Attributes:
        mapper, batch_size: as given to `build_test_loader`.
        dataset: the records, packed.
        class_names: what the dataset calls its classes, if it has such an attribute, or None.
    """

    __test__ = False  # pytest takes the name for a test's

    def __init__(
        self,
        dataset: Sequence[dict],
        mapper: Callable[[dict], Any],
        batch_size: int,
        num_workers: int,
        *,
        in_memory: bool = False,
    ) -> None:
        names = getattr(dataset, "class_names", None)
        self.class_names = None if names is None else list(names)
        self.dataset = DatasetFromList(list(dataset), copy=False)
        self.mapper = mapper
        self.batch_size = batch_size
        self._batches = DataLoader(
            MapDataset(self.dataset, mapper),
            batch_size=batch_size,
            sampler=InferenceSampler(len(dataset)),
            num_workers=num_workers,
            collate_fn=trivial_batch_collator,
        )
        self._in_memory = in_memory
        self._kept: list[list] | None = None

    def __len__(self) -> int:
        """Return the number of batches of this process."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list]:
        """Yield lists of mapped samples; kept in memory, they are the same objects every time."""
        if self._kept is not None:
            yield from self._kept
            return
        kept = []
        for batch in self._batches:
            if self._in_memory:
                kept.append(batch)
            yield batch
        if self._in_memory:  # not before all have been asked for
            self._kept = kept


def build_test_loader(
    dataset: Sequence[dict],
    mapper: Callable[[dict], Any],
    batch_size: int = 1,
    num_workers: int = 0,
    *,
    in_memory: bool = False,
) -> TestLoader:
    """Return a loader to evaluate with; Detectron2 0.6 has one for single samples only.

    Args:
        dataset: records, one dict a sample.
        mapper: turns a record into what the model takes.
        batch_size: samples of a batch of one process; the last batch may be smaller.
        num_workers: loading processes; 0 loads in this one.
        in_memory: map the samples once and keep them for the evaluations that follow.

    Raises:
        InputError: there is no record, or ``batch_size`` is below 1.
    """
    if not len(dataset):
        raise InputError("the dataset to evaluate on holds no sample; name another split or set.")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(
            f"batch_size of an evaluation must be a whole number from 1 on, got {batch_size!r}."
        )
    return TestLoader(dataset, mapper, batch_size, num_workers, in_memory=in_memory)


def prepare_loaders(loaders: Sequence[Iterable], model: nn.Module) -> None:
    """Let the mappers of loaders make ready for the samples they will be asked for.

    Calls ``mapper.plan(model, dataset)`` of each, which refuses what cannot be done, and then
    ``mapper.prepare(model, dataset)`` of each, where there are such methods, in every process. To
    be called before iterating, as loading processes get copies of the mapper.

    Args:
        loaders: their attributes ``mapper`` and ``dataset`` are used, if they have them.
        model: what the samples are for, with the weights it starts from.
    """
    for step in ("plan", "prepare"):
        for loader in loaders:
            method = getattr(getattr(loader, "mapper", None), step, None)
            if method is not None:
                method(model, loader.dataset)
