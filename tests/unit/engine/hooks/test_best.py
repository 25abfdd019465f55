"""The best checkpoint and the metric that decides."""

import math

import pytest
import torch
from detectron2.engine import HookBase, TrainerBase
from torch import nn

from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.engine.hooks import BestCheckpoint
from bpt_det.engine.hooks.best import BestMetric
from bpt_det.utils.errors import InputError


class Evaluation(HookBase):
    """Puts one value of a list into the storage every second iteration."""

    def __init__(self, values, also=None):
        self.values = iter(values)
        self.also = also or {}

    def after_step(self):
        self.trainer.storage.put_scalar("rpn/num_pos_anchors", 7.0)  # as the model itself does
        if self.trainer.iter % 2:
            metrics = {"bbox/AP": next(self.values), **self.also}
            self.trainer.storage.put_scalars(**metrics, smoothing_hint=False)


class IdleTrainer(TrainerBase):
    """Counts its iterations in the model's weight."""

    def run_step(self):
        self.model.weight.data.fill_(self.iter)


def run(folder, values, start=0, mode="max", retry_period=1):
    trainer = IdleTrainer()
    trainer.model = nn.Linear(1, 1)
    checkpointer = FrozenAwareCheckpointer(trainer.model, str(folder))
    metric = BestMetric("bbox/AP", mode)
    keep_best = BestCheckpoint(checkpointer, metric, retry_period=retry_period)
    trainer.register_hooks([Evaluation(values), keep_best])
    trainer.train(start, start + 2 * len(values))


def best(folder):
    content = torch.load(folder / "model_best.pth", weights_only=True)
    return content["best"]["value"], content["model"]["weight"].item()


def test_the_file_is_that_of_the_highest_value(tmp_path):
    run(tmp_path, [3.0, 8.0, 5.0])
    assert best(tmp_path) == (8.0, 3.0)  # the second evaluation follows iteration 3


def test_values_that_are_not_numbers_are_never_best(tmp_path):
    run(tmp_path, [math.nan, 2.0, math.nan])
    assert best(tmp_path) == (2.0, 3.0)


def test_without_a_usable_value_nothing_is_written(tmp_path):
    run(tmp_path, [math.nan])
    assert not list(tmp_path.glob("*.pth"))


@pytest.mark.parametrize(("values", "expected"), [([7.0, 6.0], (8.0, 3.0)), ([9.0], (9.0, 7.0))])
def test_a_resumed_run_remembers_the_best_value(tmp_path, values, expected):
    run(tmp_path, [3.0, 8.0, 5.0])
    run(tmp_path, values, start=6)
    assert best(tmp_path) == expected


def test_a_fresh_run_does_not_take_up_an_old_file(tmp_path):
    run(tmp_path, [8.0])
    run(tmp_path, [3.0], start=0)
    assert best(tmp_path) == (3.0, 1.0)


def test_a_run_resumed_with_another_metric_starts_its_best_anew(tmp_path):
    run(tmp_path, [8.0])
    content = torch.load(tmp_path / "model_best.pth", weights_only=True)
    content["best"] = {"metric": "segm/AP", "mode": "max", "value": 99.0, "iteration": 1}
    torch.save(content, tmp_path / "model_best.pth")
    run(tmp_path, [5.0], start=2)
    assert best(tmp_path) == (5.0, 3.0)


def test_the_lowest_value_is_best_where_the_mode_says_so(tmp_path):
    run(tmp_path, [5.0, 3.0, math.nan, 8.0], mode="min")
    assert best(tmp_path) == (3.0, 3.0)


@pytest.mark.parametrize(("values", "expected"), [([4.0], (3.0, 3.0)), ([2.0], (2.0, 5.0))])
def test_a_resumed_run_remembers_the_lowest_value(tmp_path, values, expected):
    run(tmp_path, [5.0, 3.0], mode="min")
    run(tmp_path, values, start=4, mode="min")
    assert best(tmp_path) == expected


def test_a_run_resumed_with_the_other_mode_starts_its_best_anew(tmp_path):
    run(tmp_path, [5.0])
    run(tmp_path, [8.0], start=2, mode="min")
    assert best(tmp_path) == (8.0, 3.0)


def test_a_metric_that_is_never_a_number_is_named(tmp_path, caplog):
    run(tmp_path, [math.nan, math.nan])
    assert not (tmp_path / "model_best.pth").exists()
    assert "'bbox/AP' was never a number" in caplog.text


def test_an_unknown_mode_is_refused():
    with pytest.raises(InputError, match="max or min, got 'best'"):
        BestMetric("bbox/AP", "best")


def test_a_metric_that_no_evaluation_gives_is_named_beside_those_that_exist(tmp_path, caplog):
    trainer = IdleTrainer()
    trainer.model = nn.Linear(1, 1)
    checkpointer = FrozenAwareCheckpointer(trainer.model, str(tmp_path))
    best_checkpoint = BestCheckpoint(checkpointer, BestMetric("box/AP"))
    trainer.register_hooks([Evaluation([3.0], also={"segm/AP": 2.0}), best_checkpoint])
    trainer.train(0, 2)
    assert (
        "No evaluation gave 'box/AP': model_best.pth is not kept. Set train.best_metric to one of: "
        "bbox/AP, segm/AP" in caplog.text
    )


def run_where_disk_is_full(monkeypatch, num_failures, folder, values, **settings):
    """Train where so many files cannot be written."""
    save, calls = torch.save, []

    def fail_at_first(content, file):
        calls.append(content)
        if len(calls) <= num_failures:
            raise OSError(28, "No space left on device")
        save(content, file)

    monkeypatch.setattr("bpt_det.engine.checkpoint.torch.save", fail_at_first)
    run(folder, values, **settings)


def test_what_cannot_be_written_is_written_later_as_it_was(tmp_path, monkeypatch, caplog):
    run_where_disk_is_full(monkeypatch, 2, tmp_path, [8.0, 3.0])
    assert best(tmp_path) == (8.0, 1.0)  # not the weight of the iteration in which it succeeds
    assert caplog.text.count("is the disk full? Training goes on") == 1


def test_a_better_one_replaces_one_that_cannot_be_written(tmp_path, monkeypatch):
    run_where_disk_is_full(monkeypatch, 2, tmp_path, [3.0, 8.0], retry_period=5)
    assert best(tmp_path) == (8.0, 3.0)


def test_the_best_must_be_written_at_the_end(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="is the disk full"):
        run_where_disk_is_full(monkeypatch, 99, tmp_path, [8.0, 3.0])
    assert not list(tmp_path.iterdir())
