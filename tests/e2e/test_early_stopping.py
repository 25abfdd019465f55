"""Early stopping, and the same stop in a run that was interrupted."""

import itertools
import logging
import math
import shutil

import pytest
import torch
import torch.distributed as dist
from detectron2.engine import HookBase

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.config import load_config
from bpt_det.engine import FrozenAwareCheckpointer, Trainer, load_trained_model, train
from bpt_det.engine.hooks import EarlyStopping
from bpt_det.engine.hooks.best import BestMetric
from bpt_det.engine.precision import Precision
from bpt_det.utils.errors import InputError
from tests.support.detectors import shrink, use_shapes
from tests.support.processes import run_in_two_processes

PERIOD = 2  # iterations from one evaluation to the next


@pytest.fixture
def cfg(shapes_root, tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.train.max_iter = 40
    cfg.train.eval_period = cfg.train.checkpointer.period = PERIOD
    cfg.train.early_stopping.patience = 2
    return cfg


@pytest.fixture
def scored(monkeypatch, cfg, tmp_path):
    """Train with given results of the evaluations; returns the folder and those that were used."""

    rising = itertools.count(90.0)  # through all runs

    def run(folder, values, resume=False, **settings):
        used = []

        def evaluate(*_):
            used.append(values[len(used)])
            return {"bbox": {"AP": used[-1], "AP50": next(rising)}}

        monkeypatch.setattr("bpt_det.engine.evaluation.evaluate", evaluate)
        cfg.train.output_dir = str(tmp_path / folder)
        (tmp_path / folder).mkdir(exist_ok=True)
        cfg.train.update(settings)
        results = train(cfg, resume=resume)
        return tmp_path / folder, used, results

    return run


def content(path):
    return torch.load(path, weights_only=True)


def test_a_run_ends_after_that_many_evaluations_in_a_row_without_a_new_best(scored, caplog):
    caplog.set_level(logging.INFO)
    values = [3.0, 2.0, 8.0, 8.0, math.nan, 99.0]
    folder, used, results = scored("run", values)
    assert used[:4] == values[:4] and len(used) == 5
    assert math.isnan(results["bbox"]["AP"])  # the last evaluation is of the final weights
    final = content(folder / "model_final.pth")
    assert final["trainer"]["iteration"] == final["iteration"] == 5 * PERIOD - 1
    assert content(folder / "model_best.pth")["best"]["value"] == 8.0
    assert (
        "Stopping early at iteration 9: no improvement of bbox/AP over 8.000 for 2 evaluations"
        in caplog.text
    )


def test_the_last_evaluation_of_a_stopped_run_is_in_its_metrics(scored):
    folder, _, _ = scored("run", [3.0, 2.0, 1.0], log_period=100)
    last = [
        line for line in (folder / "metrics.json").read_text().splitlines() if "bbox/AP" in line
    ]
    assert '"bbox/AP": 1.0' in last[-1] and '"iteration": 5' in last[-1]


def test_where_lower_is_better_a_rise_stops(scored):
    _, used, _ = scored("run", [5.0, 4.0, 6.0, 7.0], best_metric_mode="min")
    assert used == [5.0, 4.0, 6.0, 7.0]


def test_without_patience_a_run_takes_all_its_iterations(scored):
    folder, used, _ = scored("run", [3.0] * 9, early_stopping={"patience": None}, max_iter=8)
    assert len(used) == 4 and content(folder / "model_final.pth")["iteration"] == 7


def test_a_run_that_keeps_improving_takes_all_its_iterations(scored):
    folder, used, _ = scored("run", [1.0, 0.5, 2.0, 1.5], max_iter=8)
    assert len(used) == 4 and content(folder / "model_final.pth")["iteration"] == 7


@pytest.mark.parametrize(
    "interrupted_after",
    [1, pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(4, marks=pytest.mark.slow)],
)
def test_an_interrupted_run_stops_where_an_uninterrupted_one_does(
    scored, tmp_path, interrupted_after
):
    """What earlier evaluations found is in the checkpoint; its own, without a result, is not."""
    values = [3.0, 8.0, 7.0, 9.0, 6.0, 5.0, 99.0]
    straight, used, _ = scored("straight", values, checkpointer={"period": PERIOD})
    assert used == values[:6]
    name = f"model_{interrupted_after * PERIOD - 1:07d}.pth"
    (tmp_path / "resumed").mkdir()
    shutil.copy(straight / name, tmp_path / "resumed")
    (tmp_path / "resumed/last_checkpoint").write_text(name)
    resumed, used, _ = scored("resumed", values[interrupted_after - 1 :], resume=True)
    assert used == values[interrupted_after - 1 : 6]
    finals = [content(folder / "model_final.pth") for folder in (straight, resumed)]
    assert finals[0]["iteration"] == finals[1]["iteration"] == 6 * PERIOD - 1
    assert all(torch.equal(finals[1]["model"][k], v) for k, v in finals[0]["model"].items())


def test_a_stopped_run_is_not_resumed_unless_patience_is_raised(scored):
    scored("run", [3.0, 2.0, 1.0])
    with pytest.raises(
        InputError,
        match=r"run' was stopped early: no improvement of bbox/AP over 3\.000 for 2 evaluations; "
        r"raise train\.early_stopping\.patience",
    ):
        scored("run", [9.0], resume=True)
    patient = {"early_stopping": {"patience": 3}}
    _, used, _ = scored("run", [2.5, 9.0], resume=True, **patient)
    assert used == [2.5]


def test_a_stopped_run_can_be_evaluated(scored, cfg):
    scored("run", [3.0, 2.0, 1.0])
    assert load_trained_model(cfg) is not None


def test_a_run_resumed_with_another_metric_counts_anew(scored):
    scored("run", [3.0, 2.0, 1.0])
    _, used, _ = scored("run", [1.0] * 9, resume=True, best_metric="bbox/AP50", max_iter=12)
    assert len(used) == 3  # AP50 rises with every evaluation


def test_a_metric_that_evaluations_do_not_give_stops_nothing_and_is_reported(scored, caplog):
    _, used, _ = scored("run", [3.0] * 9, best_metric="box/AP", max_iter=8)
    assert len(used) == 4
    assert (
        "The evaluation gave no 'box/AP', so it does not count for train.early_stopping. Set "
        "train.best_metric to one of: bbox/AP, bbox/AP50" in caplog.text
    )


class IdleTrainer(Trainer):
    def run_step(self):
        pass


class EvaluationOnMain(HookBase):
    """As Detectron2's: processes other than the main one get no metrics."""

    def after_step(self):
        if dist.get_rank() == 0:
            self.trainer.storage.put_scalar("bbox/AP", 3.0, smoothing_hint=False)


def work(rank, folder):
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = IdleTrainer(model, [], optimizer, Precision("cpu", torch.float32), seed=0)
    checkpointer = FrozenAwareCheckpointer(model, str(folder))
    stop = EarlyStopping(checkpointer, BestMetric("bbox/AP"), patience=2, eval_period=1)
    trainer.register_hooks([EvaluationOnMain(), stop])
    trainer.train(0, 20)
    (folder / f"{rank}.txt").write_text(str(trainer.iter))


def test_all_processes_stop_when_the_one_with_the_metrics_does(tmp_path):
    run_in_two_processes(work, tmp_path, tmp_path)
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)] == ["2", "2"]
