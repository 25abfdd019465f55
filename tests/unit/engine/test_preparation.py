"""What a dataset and a mapper may bring along, through a whole run."""

import pytest
from detectron2.config import LazyCall as L

from bpt_det.engine import read_class_names, train
from tests.support.regression import AddNoise, Regression, draw_records, regression_config


@pytest.fixture
def cfg(tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    return regression_config(tmp_path / "run")


class RecordedCache:
    calls = []

    def plan(self, model, records, mapper):
        pass

    def fill(self, model, records, mapper):
        self.calls.append((type(model), len(records)))


class CachedMapper(AddNoise):
    cache = RecordedCache()

    def __call__(self, record):
        assert len(self.cache.calls) == 2, "asked for a sample before all caches were filled"
        return super().__call__(record)


def test_feature_caches_are_filled_before_the_first_sample(cfg, monkeypatch):
    monkeypatch.setattr(RecordedCache, "calls", [])
    for name in ("train", "test"):
        cfg.dataloader[name].mapper = L(CachedMapper)(augment=name == "train")
    train(cfg)
    assert RecordedCache.calls == [(Regression, 7), (Regression, 11)]


class NamedRecords(list):
    class_names = ("cat", "dog")


def named_records():
    return NamedRecords(draw_records(11, seed=0))


def test_the_checkpoints_take_the_class_names_of_the_data_set(cfg, tmp_path):
    cfg.dataloader.train.dataset = L(named_records)()
    train(cfg)
    assert read_class_names(str(tmp_path / "run/model_final.pth")) == ["cat", "dog"]
