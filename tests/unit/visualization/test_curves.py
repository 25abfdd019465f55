"""Curves of a run: what is collected and drawn, and that a run ends with their picture."""

import pytest
from matplotlib.axes import Axes
from PIL import Image

from bpt_det.engine import train
from bpt_det.utils.errors import InputError
from bpt_det.visualization.curves import collect_curves, draw_curves
from bpt_det.visualization.figures import add_legend, new_figure
from tests.support.regression import regression_config


def losses(*pairs):
    return [{"iteration": iteration, "total_loss": value} for iteration, value in pairs]


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn: the iterations of each curve by its name, and the title of each panel."""
    curves, titles = {}, []
    plot, set_title = Axes.plot, Axes.set_title

    def record_curve(axes, iterations, values, **style):
        curves[style["label"]] = (axes, list(iterations))
        return plot(axes, iterations, values, **style)

    def record_title(axes, title):
        titles.append((axes, title))
        return set_title(axes, title)

    monkeypatch.setattr(Axes, "plot", record_curve)
    monkeypatch.setattr(Axes, "set_title", record_title)
    return curves, titles


def test_a_curve_is_the_values_by_iteration():
    records = [*losses((1, 5.0), (3, 4.0)), {"iteration": 3, "val/top1": 20.0, "lr": 1.0}]
    assert collect_curves(records, ["total_loss", "val/top1", "val/loss"]) == {
        "total_loss": [(1, 5.0), (3, 4.0)],
        "val/top1": [(3, 20.0)],
    }


@pytest.mark.parametrize(
    ("first", "resumed", "expected"),
    [
        # Also where it logs at other iterations than the run before it.
        (
            [(1, 5.0), (3, 4.0), (5, 9.0), (7, 9.0)],
            [(4, 3.0), (6, 2.0)],
            [(1, 5.0), (3, 4.0), (4, 3.0), (6, 2.0)],
        ),
        ([(1, 5.0), (3, 4.0)], [(3, 3.5), (5, 3.0)], [(1, 5.0), (3, 3.5), (5, 3.0)]),
    ],
)
def test_a_resumed_run_replaces_what_it_repeats(first, resumed, expected):
    curves = collect_curves(losses(*first, *resumed), ["total_loss"])
    assert curves == {"total_loss": expected}


def test_another_metric_of_an_earlier_iteration_replaces_nothing():
    """Detectron2 writes the losses of a later iteration before an evaluation's metrics."""
    records = [*losses((1, 5.0), (7, 4.0)), {"iteration": 5, "val/top1": 20.0}]
    assert collect_curves(records, ["total_loss"]) == {"total_loss": [(1, 5.0), (7, 4.0)]}


def test_values_that_are_not_finite_are_left_out():
    records = losses((1, float("nan")), (2, 4.0), (3, float("inf")))
    assert collect_curves(records, ["total_loss"]) == {"total_loss": [(2, 4.0)]}


def test_every_loss_is_drawn_and_metrics_and_the_learning_rate_apart(tmp_path, drawn):
    values = {"loss_mask": 0.5, "total_loss": 1.0, "val/loss": 1.0, "val/top1": 2.0, "lr": 3.0}
    names = ["val/top1", "val/loss", "absent/AP"]
    draw_curves([{"iteration": 3, **values}], tmp_path / "curves.png", names)
    curves, titles = drawn
    assert {name: dict(titles)[axes] for name, (axes, _) in curves.items()} == {
        "total_loss": "loss",
        "loss_mask": "loss",
        "val/loss": "loss",
        "val/top1": "metrics (percent)",
        "lr": "learning rate",
    }
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG" and picture.size == (1400, 450)


@pytest.mark.parametrize("records", [[], [{"iteration": 3, "lr": 1.0}]])
def test_where_there_is_nothing_to_draw_no_file_is_written(tmp_path, records):
    draw_curves(records, tmp_path / "curves.png", ["val/top1"])
    assert not (tmp_path / "curves.png").exists()


@pytest.fixture
def cfg(tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    return regression_config(tmp_path / "run")


def test_a_run_ends_with_a_picture_of_all_it_has_written(cfg, tmp_path, drawn):
    train(cfg)
    assert (tmp_path / "run/curves.png").is_file()
    curves, _ = drawn
    assert curves["total_loss"][1] == [0, 1, 2, 3, 4, 5]
    assert curves["val/loss"][1] == [1, 3, 6]  # also the last


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


@pytest.mark.parametrize(("num_curves", "is_below"), [(0, None), (5, False), (6, True)])
def test_a_legend_of_many_curves_stands_below_the_panel(num_curves, is_below):
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    for index in range(num_curves):
        axes.plot([0, 1], [index, index + 1], label=f"method {index}")
    add_legend(axes)
    legend = axes.get_legend()
    assert (legend is None) == (is_below is None)
    if legend is not None:
        figure.draw_without_rendering()
        box, panel = legend.get_window_extent(), axes.get_window_extent()
        assert (box.y1 < panel.y0) == is_below and box.y0 >= 0 and box.x0 >= 0
