"""Trackers: what reaches the local stores of their libraries, and that none ends a run."""

import importlib.util
import json

import pytest
import torch

from bpt_det.engine import train
from bpt_det.engine.trackers import Trackers, check_trackers
from bpt_det.utils.errors import InputError
from tests.support.regression import regression_config

RECORDS = [{"iteration": 3, "total_loss": 1.5, "bbox/AP-a (b)": 40.0}, {"iteration": 7, "lr": 0.1}]
PICTURES = [("inference/predictions", torch.full((3, 20, 30), 70, dtype=torch.uint8), 3)]


def needs(package):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"{package} is not installed: pip install -r requirements-trackers.txt",
    )


def write(name, folder):
    trackers = Trackers([name], folder, {"train.seed": "0"})
    trackers.open(0)
    trackers.write(RECORDS, PICTURES)
    trackers.close()


def test_tensorboard_gets_metrics_and_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write("tensorboard", tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("total_loss")] == [(3, 1.5)]
    (picture,) = events.Images("inference/predictions")
    assert (picture.step, picture.width, picture.height) == (3, 30, 20)


@needs("mlflow")
def test_mlflow_gets_metrics_and_pictures(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/store")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    write("mlflow", tmp_path / "run")
    assert not caplog.text
    (metric,) = (tmp_path / "store").rglob("metrics/bbox/AP-a _b_")
    assert metric.read_text().split()[1:3] == ["40.0", "3"]
    assert list((tmp_path / "store").rglob("pictures/inference/predictions-3.png"))
    (settings,) = (tmp_path / "store").rglob("settings.json")
    assert json.loads(settings.read_text()) == {"train.seed": "0"}


@needs("wandb")
def test_wandb_gets_metrics_and_pictures(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "run").mkdir()
    write("wandb", tmp_path / "run")
    importlib.import_module("wandb").teardown()  # its process writes the file, after the run
    assert not [record for record in caplog.records if record.name.startswith("bpt_det")]
    (log,) = (tmp_path / "run/wandb").glob("offline-run-*/run-*.wandb")
    assert b"bbox/AP-a (b)" in log.read_bytes()
    assert list((tmp_path / "run/wandb").rglob("media/images/inference/predictions_3_*.png"))


class Broken:
    name = "Broken"

    def __init__(self, folder, settings):
        self.calls = 0

    def open(self, first):
        pass

    def write(self, values, iteration):
        raise ConnectionError("no network")


def test_a_tracker_that_fails_is_left_out_and_the_run_goes_on(
    tmp_path, monkeypatch, caplog, repository_root
):
    monkeypatch.chdir(repository_root)
    monkeypatch.setitem(
        train.__globals__["check_trackers"].__globals__["_KINDS"], "broken", ("json", Broken)
    )
    cfg = regression_config(tmp_path / "run")
    cfg.train.trackers = ["broken", "tensorboard"]
    assert train(cfg).keys() == {"val"}
    assert caplog.text.count("Broken gets no further metrics (ConnectionError: no network)") == 1
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("name", "package", "message"),
    [
        ("comet", "json", "trackers must be out of tensorboard, wandb, mlflow, got 'comet'"),
        (
            "wandb",
            "no_such_package",
            "runs that are tracked by wandb need the package 'no_such_package'",
        ),
    ],
)
def test_what_cannot_track_is_refused_before_the_run(name, package, message, monkeypatch):
    kinds = check_trackers.__globals__["_KINDS"]
    monkeypatch.setitem(kinds, "wandb", (package, kinds["wandb"][1]))
    with pytest.raises(InputError, match=message):
        check_trackers([name])


@pytest.mark.parametrize("names", ["tensorboard", 5])
def test_trackers_that_are_no_list_are_refused(names):
    with pytest.raises(InputError, match=r"must be a list such as \[tensorboard,wandb\], got"):
        check_trackers(names)
