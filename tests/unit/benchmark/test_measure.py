"""Measurements: arithmetic, interleaved repeats, failures; no test looks at a measured time."""

import json

import pytest
import torch
from torch import nn

from bpt_det.benchmark.measure import Measurement, Workload, measure_all
from bpt_det.engine import DivergenceError


def measurement(**changes) -> Measurement:
    values = dict(
        **{"measure": "forward", "variant": "bpt_s", "label": "BPT-S", "batch_size": 2},
        **{"dtype": "float32", "seconds": [0.4, 0.1, 0.3, 0.2, 0.9], "flops": 600},
    )
    return Measurement(**{**values, **changes})


def test_median_and_interquartile_range():
    result = measurement()
    assert result.median == 0.3
    assert result.spread == pytest.approx(0.4 - 0.2)
    assert measurement(seconds=[0.7]).spread == 0.0


def test_the_dict_has_rates_and_fits_into_json():
    content = measurement(weight_bytes=7).as_dict()
    assert content["images_per_second"] == pytest.approx(2 / 0.3)
    assert content["flops_per_second"] == pytest.approx(600 / 0.3)
    assert content["weight_bytes"] == 7
    json.dumps(content)
    assert "median_seconds" not in measurement(seconds=[], failure="out of memory").as_dict()


def test_repeats_are_interleaved():
    calls = []
    workloads = [
        Workload("forward", name, name, 1, lambda name=name: calls.append(name)) for name in "ab"
    ]
    results = measure_all(workloads, "cpu", 3, warmups=1)
    assert [len(result.seconds) for result in results] == [3, 3]
    assert "".join(calls[-6:]) == "ababab"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (torch.cuda.OutOfMemoryError("too much"), "out of memory"),
        (DivergenceError("loss=nan"), "loss not finite"),
    ],
)
def test_a_workload_that_fails_leaves_the_others_in(error, text):
    def fail() -> None:
        raise error

    workloads = [
        Workload("train_step", "full", "full", 1, fail),
        Workload("train_step", "bpt_s", "BPT-S", 1, lambda: None),
    ]
    failed, fine = measure_all(workloads, "cpu", 2)
    assert (failed.failure, failed.seconds, failed.is_measured) == (text, [], False)
    assert (fine.failure, len(fine.seconds), fine.is_measured) == (None, 2, True)


def test_operations_and_bytes_of_a_linear_step():
    """6 by 5 weights and 5 biases on 3 rows: two products of 2 · 3 · 6 · 5 operations."""
    model = nn.Linear(6, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rows = torch.ones(3, 6)

    def step() -> None:
        optimizer.zero_grad()
        model(rows).sum().backward()
        optimizer.step()

    workload = Workload("train_step", "full", "full", 3, step, model, optimizer)
    (result,) = measure_all([workload], "cpu", 1)
    assert result.flops == 2 * (2 * 3 * 6 * 5)  # none with respect to the rows
    assert result.weight_bytes == result.gradient_bytes == result.optimizer_bytes == 4 * 35
