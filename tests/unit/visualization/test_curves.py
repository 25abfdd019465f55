"""Curves of a run: what is read, and that a picture comes of it."""

import json

import pytest
from PIL import Image

from bpt_det.engine import train
from bpt_det.engine.metrics import read_records
from bpt_det.utils.errors import InputError
from bpt_det.visualization import curves
from bpt_det.visualization.curves import collect_curves, draw_curves
from tests.support.regression import regression_config


@pytest.fixture
def write(tmp_path):
    def write_records(*records):
        path = tmp_path / "metrics.json"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    return write_records


def losses(*pairs):
    return [{"iteration": iteration, "total_loss": value} for iteration, value in pairs]


def test_a_curve_is_the_values_by_iteration(write):
    path = write(*losses((1, 5.0), (3, 4.0)), {"iteration": 3, "val/top1": 20.0, "lr": 1.0})
    read = collect_curves(read_records(path), ["total_loss", "val/top1", "val/loss"])
    assert read == {"total_loss": [(1, 5.0), (3, 4.0)], "val/top1": [(3, 20.0)]}


def test_a_resumed_run_replaces_what_it_repeats(write):
    """Also where it logs at other iterations than the run before it."""
    path = write(*losses((1, 5.0), (3, 4.0), (5, 9.0), (7, 9.0)), *losses((4, 3.0), (6, 2.0)))
    assert collect_curves(read_records(path), ["total_loss"])["total_loss"] == [
        (1, 5.0),
        (3, 4.0),
        (4, 3.0),
        (6, 2.0),
    ]
    path = write(*losses((1, 5.0), (3, 4.0)), *losses((3, 3.5), (5, 3.0)))
    assert collect_curves(read_records(path), ["total_loss"])["total_loss"] == [
        (1, 5.0),
        (3, 3.5),
        (5, 3.0),
    ]


def test_another_metric_of_an_earlier_iteration_replaces_nothing(write):
    """Detectron2 writes the losses of a later iteration before an evaluation's metrics."""
    path = write(*losses((1, 5.0), (7, 4.0)), {"iteration": 5, "val/top1": 20.0})
    assert collect_curves(read_records(path), ["total_loss"])["total_loss"] == [(1, 5.0), (7, 4.0)]


def test_values_that_are_not_finite_are_left_out(write):
    path = write(*losses((1, float("nan")), (2, 4.0), (3, float("inf"))))
    path.write_text(path.read_text() + '{"iteration": 5, "total_lo')
    assert collect_curves(read_records(path), ["total_loss"]) == {"total_loss": [(2, 4.0)]}


def test_the_picture_has_its_size(write, tmp_path):
    path = write(*losses((1, 5.0), (3, 4.0)), {"iteration": 3, "val/top1": 20.0, "val/loss": 1.0})
    draw_curves(read_records(path), tmp_path / "curves.png", ["val/top1", "val/loss", "absent/AP"])
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG" and picture.size == (1200, 450)


def test_losses_are_drawn_beside_each_other_and_metrics_apart(write, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(curves, "_draw", lambda _, title, found: drawn.update({title: [*found]}))
    path = write({"iteration": 3, "total_loss": 1.0, "val/loss": 1.0, "val/top1": 2.0, "lr": 3.0})
    draw_curves(read_records(path), tmp_path / "curves.png", ["val/top1", "val/loss"])
    assert drawn == {"loss": ["total_loss", "val/loss"], "metrics (percent)": ["val/top1"]}


@pytest.mark.parametrize("records", [[], [{"iteration": 3, "lr": 1.0}]])
def test_where_there_is_nothing_to_draw_no_file_is_written(write, tmp_path, records):
    draw_curves(records, tmp_path / "curves.png", ["val/top1"])
    draw_curves(read_records(tmp_path / "absent.json"), tmp_path / "curves.png", ["val/top1"])
    assert not (tmp_path / "curves.png").exists()


@pytest.fixture
def cfg(tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    return regression_config(tmp_path / "run")


def test_a_run_ends_with_a_picture_of_all_it_has_written(cfg, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(curves, "_draw", lambda *args: found.append(args[2]))
    train(cfg)
    assert (tmp_path / "run/curves.png").is_file()
    assert [iteration for iteration, _ in found[0]["total_loss"]] == [0, 1, 2, 3, 4, 5]
    assert [iteration for iteration, _ in found[0]["val/loss"]] == [1, 3, 6]  # also the last


def test_no_picture_where_none_is_asked_for(cfg, tmp_path):
    del cfg.train.curves
    train(cfg)
    assert not (tmp_path / "run/curves.png").exists()


def test_a_picture_that_cannot_be_written_fails_no_run(cfg, monkeypatch, caplog):
    def fail(*_):
        raise InputError("the disk is full")

    monkeypatch.setattr("bpt_det.engine.hooks.writers.draw_curves", fail)
    assert train(cfg).keys() == {"val"}
    assert "run/curves.png' could not be drawn: the disk is full" in caplog.text
