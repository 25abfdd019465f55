"""Golden runs: losses of seeded runs as written numbers, which catch a silent change.

The numbers are from one CPU; another one, or another version of PyTorch, rounds differently by
much less than the tolerance.
"""

import pytest
from detectron2.config import LazyCall as L
from detectron2.engine import HookBase
from detectron2.utils.env import seed_all_rng

import bpt_det.detection  # noqa: F401  registers the datasets
from bpt_det.classification import use_classification_data
from bpt_det.config import load_config
from bpt_det.engine import train
from bpt_det.shapes import write_shape_crops
from tests.support.detectors import shrink, use_shapes


class RecordLosses(HookBase):
    """Keeps the total loss of each iteration, which metrics.json holds smoothed."""

    losses = []

    def after_step(self):
        self.losses.append(self.trainer.storage.history("total_loss").latest())


@pytest.fixture
def losses_of(tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    monkeypatch.setattr(RecordLosses, "losses", [])

    def run(cfg):
        settings = {"max_iter": 3, "eval_period": 0, "device": "cpu", "curves": None}
        cfg.train.update(settings, output_dir=str(tmp_path / "run"), hooks=[L(RecordLosses)()])
        (tmp_path / "run").mkdir()
        seed_all_rng(0)
        train(cfg)
        return RecordLosses.losses

    return run


def test_a_detector(losses_of, shapes_root):
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    expected = [9.766488288762048, 9.24784646043554, 8.838279819814488]
    assert losses_of(cfg) == pytest.approx(expected, rel=1e-4)


def test_a_classifier(losses_of, repository_root, tmp_path, monkeypatch):
    monkeypatch.chdir(repository_root)
    write_shape_crops(tmp_path / "crops", num_train=6, num_val=2, num_test=2, seed=3)
    overrides = [f"data=folder:{tmp_path}/crops", "optimizer.lr=0.01", "method=bpt_s"]
    overrides += [f"dataloader.{name}.num_workers=0" for name in ("train", "test")]
    overrides += ["dataloader.final_test=null"]
    cfg = load_config("configs/shapes/crops.py", overrides, use_classification_data)
    expected = [2.317089080810547, 2.4508962631225586, 2.304128646850586]
    assert losses_of(cfg) == pytest.approx(expected, rel=1e-4)
