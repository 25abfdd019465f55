"""What a dataset and a mapper may bring along, through a whole run."""

import pytest
from detectron2.config import LazyCall as L

from bpt_det.engine import read_class_names, train
from tests.support.regression import AddNoise, Regression, draw_records, regression_config


@pytest.fixture
def cfg(tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    return regression_config(tmp_path / "run")


class PreparedMapper(AddNoise):
    calls = []

    def prepare(self, model, dataset):
        self.calls.append((type(model), len(dataset)))

    def __call__(self, record):
        assert len(self.calls) == 2, "asked for a sample before all loaders were prepared"
        return super().__call__(record)


def test_the_loaders_of_a_training_are_prepared_before_its_first_sample(cfg, monkeypatch):
    monkeypatch.setattr(PreparedMapper, "calls", [])
    for name in ("train", "test"):
        cfg.dataloader[name].mapper = L(PreparedMapper)(augment=name == "train")
    train(cfg)
    assert PreparedMapper.calls == [(Regression, 7), (Regression, 11)]


class NamedRecords(list):
    class_names = ("cat", "dog")


def named_records():
    return NamedRecords(draw_records(11, seed=0))


def test_the_checkpoints_take_the_class_names_of_the_data_set(cfg, tmp_path):
    cfg.dataloader.train.dataset = L(named_records)()
    train(cfg)
    assert read_class_names(str(tmp_path / "run/model_final.pth")) == ["cat", "dog"]
