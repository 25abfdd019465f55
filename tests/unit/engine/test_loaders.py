"""Loaders: order, augmentation, restart, and errors of loading processes."""

import gc
import itertools
import random
import weakref

import numpy as np
import pytest
import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler
from omegaconf import OmegaConf

from bpt_det.engine import TestLoader, TrainLoader
from bpt_det.engine.loaders import build_loader
from bpt_det.utils.errors import InputError

RECORDS = [{"index": index} for index in range(7)]


def draw(record):
    """A mapper that uses all three global generators, as augmentations do."""
    return record["index"], random.random(), np.random.rand(), torch.rand(()).item()


def batches(count, *, start=0, **kwargs):
    loader = TrainLoader(RECORDS, draw, total_batch_size=3, **kwargs)
    loader.start_batch = start
    return list(itertools.islice(iter(loader), count))


def test_every_sample_comes_once_a_round():
    samples = list(itertools.chain(*batches(7)))
    for start in (0, 7, 14):
        assert sorted(s[0] for s in samples[start : start + 7]) == list(range(7))


def test_augmentation_differs_from_round_to_round():
    samples = list(itertools.chain(*batches(7)))
    assert len({s[1:] for s in samples}) == len(samples)


@pytest.mark.parametrize("start", [1, 4])
def test_starting_later_continues_the_same_stream(start):
    np.random.seed(99)  # whatever the generators hold
    assert batches(3, start=start) == batches(start + 3)[start:]


def test_the_number_of_workers_changes_nothing():
    assert batches(4, num_workers=2) == batches(4, num_workers=0)


def test_another_seed_is_another_stream():
    assert batches(2, seed=1) != batches(2, seed=2)


def test_nothing_is_loaded_before_the_first_batch_is_asked_for():
    def fail(record):
        raise AssertionError("loaded too early")

    iter(TrainLoader(RECORDS, fail, total_batch_size=1))


@pytest.mark.parametrize(("batch", "processes"), [(3, 2), (0, 1)])
def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch, batch, processes):
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: processes)
    with pytest.raises(InputError, match=rf"number of processes \({processes}\), got {batch}\."):
        TrainLoader(RECORDS, draw, total_batch_size=batch)


def test_two_processes_see_disjoint_halves_of_a_round(monkeypatch):
    seen = []
    for rank in range(2):
        monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
        monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(
            "detectron2.data.samplers.distributed_sampler.comm.get_rank", lambda rank=rank: rank
        )
        loader = TrainLoader(RECORDS[:6], draw, total_batch_size=2)
        seen.append([batch[0] for batch in itertools.islice(iter(loader), 3)])
    indices = [sample[0] for half in seen for sample in half]
    assert sorted(indices) == list(range(6))
    assert {s[1] for s in seen[0]}.isdisjoint(s[1] for s in seen[1])


class NamedRecords(list):
    class_names = ("cat", "dog")


def test_the_loader_knows_the_classes_of_a_data_set_that_names_them():
    loader = TrainLoader(NamedRecords(RECORDS), draw, total_batch_size=3)
    assert loader.class_names == ["cat", "dog"]
    assert TrainLoader(RECORDS, draw, total_batch_size=3).class_names is None


CLASSES = [[0], [0, 1], [0], [0, 2, 1], [0], [], [0], [0, 0]]  # of the objects of eight images


def test_rare_classes_come_as_often_as_detectron2_repeats_them():
    """The order of its `RepeatFactorTrainingSampler`, whatever the batch it starts from."""
    records = [
        {"index": i, "annotations": [{"category_id": c} for c in classes]}
        for i, classes in enumerate(CLASSES)
    ]
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(records, 0.7)
    assert factors.tolist() == pytest.approx(
        [1, (0.7 / 0.25) ** 0.5, 1, (0.7 / 0.125) ** 0.5] + [1] * 4
    )
    expected = list(itertools.islice(RepeatFactorTrainingSampler(factors, seed=5), 300))

    def indexes(start, count):
        loader = TrainLoader(records, dict, 3, seed=5, repeat_thresh=0.7)
        loader.start_batch = start
        batches = itertools.islice(loader, count)
        return [record["index"] for batch in batches for record in batch]

    assert indexes(0, 100) == expected
    assert indexes(40, 60) == expected[120:]
    assert expected.count(3) > expected.count(1) > 1.3 * expected.count(0)


@pytest.mark.parametrize(
    ("records", "value", "text"),
    [
        ([{"annotations": []}], 0, r"repeat_thresh must be in \(0, 1\].*, got 0\."),
        ([{"annotations": []}], 1.5, r"repeat_thresh must be in \(0, 1\].*, got 1\.5\."),
        ([{"label": 3}], 0.001, "repeat_thresh needs annotations of objects; set repeat_thresh=n"),
    ],
)
def test_repeats_that_cannot_be_are_refused(records, value, text):
    with pytest.raises(InputError, match=text):
        TrainLoader(records, dict, 1, repeat_thresh=value)


def index_of(record):
    return record["index"]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_sees_every_sample_once_in_order(num_workers):
    loader = TestLoader(RECORDS, index_of, batch_size=3, num_workers=num_workers)
    assert list(loader) == list(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(loader) == 3
    assert list(TestLoader(RECORDS, index_of)) == [[index] for index in range(7)]


def test_two_processes_evaluate_disjoint_parts_that_are_everything(monkeypatch):
    target = "detectron2.data.samplers.distributed_sampler.comm"
    monkeypatch.setattr(f"{target}.get_world_size", lambda: 2)
    seen = []
    for rank in range(2):
        monkeypatch.setattr(f"{target}.get_rank", lambda rank=rank: rank)
        loader = TestLoader(RECORDS, index_of, batch_size=3)
        assert len(loader) == 2 - rank
        seen += itertools.chain(*loader)
    assert seen == list(range(7))


def test_data_without_a_sample_are_refused():
    with pytest.raises(InputError, match=r"the dataset to evaluate on holds no sample; name an"):
        TestLoader([], index_of)


@pytest.mark.parametrize("batch_size", [0, 1.5])
def test_a_batch_size_that_is_no_number_of_samples_is_refused(batch_size):
    with pytest.raises(InputError, match=rf"batch_size.*integer >= 1, got {batch_size}\."):
        TestLoader(RECORDS, index_of, batch_size=batch_size)


class Mapper:
    def __call__(self, record):
        return record["index"]


def refuse(record):
    raise InputError(f"record {record['index']}", parameter="dataset", hint="check_dataset")


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("build", [TestLoader, TrainLoader])
def test_an_error_of_a_loading_process_arrives_as_it_was_raised(build, num_workers):
    with pytest.raises(InputError, match=r"^record \d$") as caught:
        next(iter(build(RECORDS, refuse, 3, num_workers)))
    assert (caught.value.parameter, caught.value.hint) == ("dataset", "check_dataset")


def test_a_loader_is_built_around_a_dataset_that_is_there():
    node = OmegaConf.create(
        {
            "shared": {"size": 2},
            "loader": {
                "_target_": "bpt_det.engine.TestLoader",
                "dataset": {"_target_": "no.such.dataset"},
                "mapper": {"_target_": f"{__name__}.Mapper"},
                "batch_size": "${shared.size}",
            },
        }
    )
    loader = build_loader(node.loader, RECORDS)
    assert list(loader.dataset) == RECORDS and loader.batch_size == 2
    assert isinstance(loader.mapper, Mapper)


class Records(list):
    """A list that tells when it is gone."""


@pytest.mark.parametrize("build", [TestLoader, TrainLoader])
def test_a_loader_does_not_keep_the_unpacked_records(build):
    """Those of COCO take more than a gigabyte."""
    records = Records(RECORDS)
    gone = weakref.ref(records)
    loader = build(records, draw, 3)
    del records
    gc.collect()
    assert gone() is None
    assert list(loader.dataset) == list(RECORDS)
