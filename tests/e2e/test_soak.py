"""What a process holds stays flat while it trains, predicts and starts predictors again and again.

About 5 minutes on an idle core. ``BPT_DET_SOAK=20`` makes each part 20 times as long.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.paths import ROOT
from tests.support.soak import ALLOWED, COUNTS, FIELDS, find_growth

# Part of the soak: iterations, images or starts, and how many of them between two measurements.
SIZES = {"loop": (10_000, 100), "train": (240, 4), "predict": (2_000, 20), "start": (40, 1)}
SCALE = int(os.environ.get("BPT_DET_SOAK", "1"))


def soak(folder, part, count, period, *words):
    """Run a part in a process of its own; return its exit status, and which lines say GROWS."""
    command = [sys.executable, "-m", "tests.support.soak", part, folder]
    command += ["--count", str(count), "--period", str(period), *words]
    environment = {**os.environ, "BPT_DET_TRUST": "tests"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    print(done.stdout)  # for `pytest -s`
    lines = [line for line in done.stdout.splitlines() if line.endswith("GROWS")]
    assert done.returncode in (0, 1) and (done.returncode == 1) == bool(lines), done.stderr
    return [line.partition(":")[0] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("part", SIZES)
def test_nothing_grows(part, tmp_path):
    count, period = SIZES[part]
    assert soak(tmp_path, part, count * SCALE, period * SCALE) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rss", "history", "shared", *COUNTS[:-1]])
def test_a_planted_leak_is_found(kind, tmp_path):
    """``history`` is the one that was there: Detectron2's storage keeps a million of each value."""
    count = 15_000 if kind == "history" else 1_500
    grown = soak(tmp_path, "loop", count, count // 60, "--leak", kind)
    expected = {"history": "rss", "files": "descriptors"}.get(kind, kind)
    assert expected in grown


def samples(**columns):
    count = np.arange(1, 101) * 50.0
    values = {name: np.full(100, 7.0) for name in FIELDS}
    return {**values, "count": count, **columns}


def noise(size):
    return np.random.default_rng(0).normal(0, size, 100)


@pytest.mark.parametrize("name", ALLOWED)
def test_memory_that_fills_in_the_first_half_or_is_noisy_is_flat(name):
    filling = 800 + np.minimum(np.arange(100), 45) + noise(ALLOWED[name] / 4)
    filling[[60, 80, 99]] += 300  # pictures that were being drawn
    assert find_growth(samples(**{name: filling})) == {}


@pytest.mark.parametrize("name", ALLOWED)
def test_memory_that_grows_slowly_under_noise_is_found(name):
    growing = 800 + np.linspace(0, 4 * ALLOWED[name], 100) + noise(ALLOWED[name] / 4)
    ((grown, (change, low, high)),) = find_growth(samples(**{name: growing})).items()
    assert grown == name
    assert low < 2 * ALLOWED[name] < high and low < change < high


@pytest.mark.parametrize("name", COUNTS)
def test_one_more_of_a_thing_at_the_end_is_found_and_a_thing_for_a_moment_is_not(name):
    values = np.full(100, 7.0)
    values[75] = 9
    assert find_growth(samples(**{name: values})) == {}
    values[90:] = 8
    assert list(find_growth(samples(**{name: values}))) == [name]
