"""Optional parts of loaders through a whole run: feature cache and class names."""

import pytest
from detectron2.config import LazyCall as L

from bpt_det.engine import train
from bpt_det.engine.checkpoint import read_checkpoint, stored_classes
from tests.support.regression import AddNoise, Regression, draw_records, regression_config


@pytest.fixture
def cfg(tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    return regression_config(tmp_path / "run")


class RecordedCache:
    """A feature cache that records what it is filled for."""

    calls = []

    def fill(self, model, loaders):
        self.calls.append((type(model), [len(loader.dataset) for loader in loaders]))


class CachedMapper(AddNoise):
    def __call__(self, record):
        assert RecordedCache.calls, "asked for a sample before the feature cache was filled"
        return super().__call__(record)


def test_the_feature_cache_is_filled_before_the_first_sample(cfg, monkeypatch):
    monkeypatch.setattr(RecordedCache, "calls", [])
    for name in ("train", "test"):
        cfg.dataloader[name].mapper = L(CachedMapper)(augment=name == "train")
    cfg.dataloader.feature_cache = L(RecordedCache)()
    train(cfg)
    assert RecordedCache.calls == [(Regression, [7, 11])]


class NamedRecords(list):
    class_names = ("cat", "dog")


def named_records():
    return NamedRecords(draw_records(11, seed=0))


def test_the_checkpoints_take_the_class_names_of_the_data_set(cfg, tmp_path):
    cfg.dataloader.train.dataset = L(named_records)()
    train(cfg)
    content = read_checkpoint(str(tmp_path / "run/model_final.pth"))
    assert stored_classes(content)[0] == ["cat", "dog"]
