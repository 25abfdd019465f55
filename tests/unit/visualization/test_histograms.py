"""Histograms: what the axes hold, read back from the figure."""

import numpy as np
import pytest

from bpt_det.visualization.histograms import Panel, draw_histograms


def normal_density(x):
    return np.exp(-((x - 3) ** 2) / 8) / np.sqrt(8 * np.pi)


@pytest.fixture
def figure():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, 50_000)
    bursty = np.append(rng.normal(size=999), 1e4)
    rows = {
        "first": [Panel(values, {"fit": normal_density}, "a note"), Panel(bursty)],
        "second": [Panel(values[:70]), None],
    }
    return draw_histograms(rows, ["left", "right"])


def test_every_value_is_counted_once_even_beyond_the_axis(figure):
    counts = [ax.patches[0].get_data().values.sum() for ax in figure.axes if ax.patches]
    assert counts == [50_000, 1000, 70]
    assert figure.axes[1].patches[0].get_data().values[-1] == 1  # 31.6 deviations away


def test_a_density_that_is_true_lies_on_the_counts(figure):
    ax = figure.axes[0]
    counts, edges, _ = ax.patches[0].get_data()
    curve = next(line for line in ax.lines if line.get_label() == "fit")
    expected = np.interp((edges[:-1] + edges[1:]) / 2, *curve.get_data())
    common = counts > 300
    np.testing.assert_allclose(counts[common], expected[common], rtol=0.25)
    assert common.sum() > 20


def test_counts_are_logarithmic_and_a_column_has_one_axis(figure):
    first, right, second, empty = figure.axes
    assert first.get_yscale() == "log"
    assert first.get_xlim() == second.get_xlim() != right.get_xlim()
    assert not empty.axison and not empty.patches


def test_titles_names_and_notes_are_there(figure):
    first, right, second, _ = figure.axes
    assert (first.get_title(), right.get_title()) == ("left", "right")
    assert (first.get_ylabel(), second.get_ylabel()) == ("first", "second")
    assert [text.get_text() for text in first.texts] == ["a note"]
    assert {text.get_text() for text in figure.legends[0].texts} == {"entries", "Gaussian", "fit"}
