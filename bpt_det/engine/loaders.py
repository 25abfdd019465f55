"""Loaders: endless training batches that can start anywhere, and test batches.

Detectron2's training loader always begins its stream anew, and draws augmentations from generators
that depend on the worker. Here batch i of the run and its augmentation are functions of (seed, i)
alone, whatever the number of workers. Several processes take its batches in turn, so that N
processes see what one sees that accumulates N batches.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import instantiate
from detectron2.data import DatasetFromList, MapDataset, MetadataCatalog
from detectron2.data.samplers import InferenceSampler, RepeatFactorTrainingSampler
from detectron2.utils import comm
from detectron2.utils.registry import locate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bpt_det.config.loading import Datasets
from bpt_det.utils.errors import InputError, check_count

from .protocols import NamesClasses
from .workers import TIMEOUT, raise_input_errors, worker_options

_HASHED = 1000  # samples at most, of those that a fingerprint looks at


def build_loader(node: Mapping[str, Any], dataset: Sequence[dict] | None = None) -> Any:
    """Return the loader that a config node describes.

    Args:
        node: has a ``_target_`` and its arguments.
        dataset: takes the place of what the node's ``dataset`` would build; None: builds that.
    """
    if dataset is None:
        return instantiate(node)
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "dataset")}
    target = node["_target_"]
    target = locate(target) if isinstance(target, str) else target
    return instantiate({**arguments, "_target_": partial(target, dataset=dataset)})


def build_named_loader(cfg: DictConfig, name: str, datasets: Datasets | None) -> Any:
    """Return the loader `dataloader.<name>`, or None where the config has none.

    Args:
        cfg: config with `dataloader`.
        name: ``train``, ``test`` or ``final_test``.
        datasets: data that have been read already.
    """
    node = OmegaConf.select(cfg, f"dataloader.{name}")
    if node is None:
        return None
    read = (datasets or {}).get(name)
    return build_loader(node, None if read is None else read())


class TrainLoader:
    """Endless shuffled batches of mapped samples for this process.

    Args:
        dataset: records, one dict per sample.
        mapper: turns a record into what the model takes; its random choices may use `random`,
            NumPy's or torch's global generator, all of which are seeded for each sample.
        total_batch_size: samples of a batch over all processes.
        num_workers: loading processes; 0 loads in this one.
        seed: of the order and of the augmentations.
        timeout: seconds to wait for a batch of the loading processes.
        repeat_thresh: fraction of images with a class below which images with it are repeated, as
            Detectron2's `RepeatFactorTrainingSampler` does (repeat factors of LVIS); None: none.

    Attributes:
        mapper, total_batch_size, num_workers: as given.
        dataset: the records, packed.
        class_names: of ``dataset``, if it has such an attribute, or None.
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
        timeout: float = TIMEOUT,
        repeat_thresh: float | None = None,
    ) -> None:
        world_size = comm.get_world_size()
        if total_batch_size < 1 or total_batch_size % world_size:
            raise InputError(
                f"total_batch_size must be a multiple of the number of processes ({world_size}), "
                f"got {total_batch_size}."
            )
        self.mapper = mapper
        self.class_names = class_names_of(dataset)
        self.samples = _SeededSamples(dataset, mapper, seed)
        self.dataset = self.samples.records  # not as given, so that the larger list is freed
        self.total_batch_size = total_batch_size
        self.batch_size = total_batch_size // world_size
        self.num_workers = num_workers
        self.seed = seed
        self.timeout = timeout
        self.repeat_factors = _repeat_factors(dataset, repeat_thresh)
        self.start_batch = 0

    def __iter__(self) -> Iterator[list]:
        """Yield lists of mapped samples; nothing is loaded before the first is asked for.

        Raises:
            InputError: the mapper has raised it, in this process or in a loading one.
        """
        keys = (
            [(number * self.batch_size + i, index) for i, index in enumerate(chosen)]
            for number, chosen in self.batch_indexes()
        )
        batches = DataLoader(
            self.samples,
            batch_sampler=keys,
            **worker_options(self.num_workers, self.timeout),
        )
        yield from raise_input_errors(batches, self.timeout)

    def fingerprint(self) -> str:
        """Return the number of samples and a hash of some of their file names, without folders."""
        size = len(self.dataset)
        chosen = [self.dataset[i] for i in range(0, size, max(1, size // _HASHED))]
        names = "\n".join(Path(str(record.get("file_name", ""))).name for record in chosen)
        return f"{size} samples, {hashlib.sha256(names.encode(errors='replace')).hexdigest()[:8]}"

    def batch_indexes(self) -> Iterator[tuple[int, list[int]]]:
        """Yield the number of each batch of this process in the run, and what it takes, forever."""
        order = _shuffle_forever(len(self.samples), self.seed, self.repeat_factors)
        rank, world_size = comm.get_rank(), comm.get_world_size()
        for number in itertools.count():
            chosen = list(itertools.islice(order, self.batch_size))
            if number % world_size == rank and number // world_size >= self.start_batch:
                yield number, chosen


def _repeat_factors(dataset: Sequence[dict], threshold: float | None) -> Tensor | None:
    """Return how often each record comes in an epoch on average, (N,); None: once."""
    if threshold is None:
        return None
    if not 0 < threshold <= 1:
        raise InputError(
            f"repeat_thresh must be in (0, 1], or null (no repeats), got {threshold}.",
            parameter="repeat_thresh",
        )
    if not all("annotations" in record for record in dataset):
        raise InputError(
            "repeat_thresh needs annotations of objects; set repeat_thresh=null.",
            parameter="repeat_thresh",
        )
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency
    return factors(dataset, threshold)


def _shuffle_forever(size: int, seed: int, factors: Tensor | None = None) -> Iterator[int]:
    """Yield the order of Detectron2's `TrainingSampler`, as one process sees it.

    With repeat factors it is that of its `RepeatFactorTrainingSampler`: a factor of 2.3 is 2 in
    some epochs and 3 in others.
    """
    generator = torch.Generator().manual_seed(seed)
    indexes = torch.arange(size)
    while True:
        epoch = indexes
        if factors is not None:
            chances = torch.rand(size, generator=generator)
            epoch = indexes.repeat_interleave((factors.floor() + (chances < factors % 1)).long())
        yield from epoch[torch.randperm(len(epoch), generator=generator)].tolist()


class _SeededSamples(Dataset):
    """Samples by (position in the run, index in the dataset)."""

    def __init__(self, dataset: Sequence[dict], mapper: Callable[[dict], Any], seed: int) -> None:
        self.records = DatasetFromList(list(dataset), copy=False)
        self.mapper = InputErrorsAsValues(mapper)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        position, index = key
        seed_cpu_generators(position_seed(self.seed, position))
        return self.mapper(self.records[index])


class TestLoader:
    """Batches of every mapped sample once, shared among the processes, in the dataset's order.

    Args:
        dataset: records, one dict per sample.
        mapper: turns a record into what the model takes.
        batch_size: samples of a batch of one process; the last batch may be smaller.
        num_workers: loading processes; 0 loads in this one.
        in_memory: map the samples once and keep them for the evaluations that follow.
        timeout: seconds to wait for a batch of the loading processes.

    Attributes:
        mapper, batch_size, num_workers: as given.
        dataset: the records, packed.
        class_names: of the dataset, if it has such an attribute, or None.

    Raises:
        InputError: there is no record, or ``batch_size`` is below 1.
    """

    __test__ = False  # pytest takes the name for a test's

    def __init__(
        self,
        dataset: Sequence[dict],
        mapper: Callable[[dict], Any],
        batch_size: int = 1,
        num_workers: int = 0,
        *,
        in_memory: bool = False,
        timeout: float = TIMEOUT,
    ) -> None:
        if not len(dataset):
            raise InputError(
                "the dataset to evaluate on holds no sample; name another split or set."
            )
        check_count("batch_size of an evaluation", batch_size)
        self.class_names = class_names_of(dataset)
        self.dataset = DatasetFromList(list(dataset), copy=False)
        self.mapper = mapper
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.timeout = timeout
        self._batches = DataLoader(
            MapDataset(self.dataset, InputErrorsAsValues(mapper)),
            batch_size=batch_size,
            sampler=InferenceSampler(len(dataset)),
            **worker_options(num_workers, timeout),
        )
        self._in_memory = in_memory
        self._kept: list[list] | None = None

    def __len__(self) -> int:
        """Return the number of batches of this process."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list]:
        """Yield lists of mapped samples; kept in memory, they are the same objects every time.

        Raises:
            InputError: the mapper has raised it, in this process or in a loading one.
        """
        if self._kept is not None:
            yield from self._kept
            return
        kept = []
        for batch in raise_input_errors(self._batches, self.timeout):
            if self._in_memory:
                kept.append(batch)
            yield batch
        if self._in_memory:  # not before all have been asked for
            self._kept = kept


class InputErrorsAsValues:
    """A mapper that returns an `InputError` in place of a sample, instead of raising it.

    Raised in a loading process, it would reach the main one as text. `raise_input_errors` raises it
    there, with all it carries.
    """

    def __init__(self, mapper: Callable[[dict], Any]) -> None:
        self.mapper = mapper

    def __call__(self, record: dict) -> Any:
        try:
            return self.mapper(record)
        except InputError as error:
            return error


def class_names_of(source: Any) -> list[str] | None:
    """Return the class names of a dataset or loader, or None if it has none."""
    names = source.class_names if isinstance(source, NamesClasses) else None
    return None if names is None else list(names)


def find_class_names(cfg: DictConfig, loader: Any, name: str) -> list[str] | None:
    """Return what a loader's data call their classes, or the dataset registered for them."""
    names = class_names_of(loader)
    if names is not None:
        return names
    dataset = OmegaConf.select(cfg, f"dataloader.{name}.dataset.names")
    return MetadataCatalog.get(dataset).get("thing_classes") if isinstance(dataset, str) else None


def find_category_ids(cfg: DictConfig, name: str) -> list[Hashable] | None:
    """Return the category ids by class index in the dataset registered for a loader, if it has."""
    dataset = OmegaConf.select(cfg, f"dataloader.{name}.dataset.names")
    if not isinstance(dataset, str):
        return None
    indexes = MetadataCatalog.get(dataset).get("thing_dataset_id_to_contiguous_id", {})
    names = MetadataCatalog.get(dataset).get("thing_classes", [])
    ids = sorted(indexes, key=indexes.__getitem__)
    return ids if [indexes[key] for key in ids] == list(range(len(names))) else None


def seed_cpu_generators(seed: int) -> None:
    """Seed the generators that a mapper's random choices come from.

    As Detectron2's `seed_all_rng`, but for the generators of GPUs: without a GPU in use,
    `torch.manual_seed` notes where it was called from for each kind, a millisecond per sample.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


def position_seed(seed: int, position: int) -> int:
    """Return the 32-bit seed of a position in the run: of a sample, or of a batch.

    Args:
        seed: of the run.
        position: counted over all processes.
    """
    return int(np.random.SeedSequence((seed, 0, position)).generate_state(1)[0])
