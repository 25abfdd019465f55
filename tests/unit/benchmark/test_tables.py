"""Tables of made-up measurements."""

import pytest

from bpt_det.benchmark.measure import Measurement
from bpt_det.benchmark.tables import format_measurements, format_ratios, ratios


def made_up(measure: str, variant: str, median: float, memory: int | None = 10**9, **changes):
    values = dict(dtype="bfloat16", seconds=[median], flops=int(median * 1e12))
    values |= dict(weight_bytes=2 * 10**9, optimizer_bytes=3 * 10**9, activation_bytes=memory)
    return Measurement(measure, variant, variant.upper(), 4, **{**values, **changes})


def cells(table: str) -> list[list[str]]:
    lines = table.splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_a_measurement_is_a_row():
    table = format_measurements([made_up("forward", "bpt_s", 0.5)], 4e12, "bfloat16")
    expected = ["forward", "BPT_S", "4", "0.5000", "0.0000", "8.00", "0.500", "1.00", "0.25"]
    assert cells(table)[0][:9] == expected
    assert cells(table)[0][9:] == ["2.000", "3.000", "1.000"]


def test_another_number_format_has_no_share_of_the_peak():
    table = format_measurements([made_up("inference", "bpt_s", 0.5)], 4e12, "float32")
    assert cells(table)[0][7:9] == ["1.00", ""]


def test_a_failure_has_a_row():
    failed = made_up("train_step", "full", 0, seconds=[], failure="out of memory")
    assert cells(format_measurements([failed], 1e12))[0][:4] == [
        *("train_step", "FULL", "4", "out of memory")
    ]


def test_ratios_of_time_operations_and_memory():
    results = [
        made_up("train_step", "bpt_d", 0.4, 10**9),
        made_up("train_step", "full", 0.8, 4 * 10**9),
    ]
    (ratio,) = ratios(results)
    assert (ratio["variant"], ratio["other"]) == ("bpt_d", "full")
    assert ratio["time"] == pytest.approx(0.5)
    assert ratio["flops"] == pytest.approx(0.5)
    assert ratio["memory"] == pytest.approx(0.25)
    assert cells(format_ratios(results)) == [
        ["train_step: BPT_D / FULL", "4", "0.500", "0.500", "0.250"]
    ]


def test_an_unknown_cost_has_no_ratio():
    failed = made_up("train_step", "full", 0, seconds=[], failure="out of memory")
    assert ratios([made_up("train_step", "bpt_d", 0.4), failed]) == []
    results = [made_up("forward", "bpt_s", 0.4, None), made_up("forward", "bare", 0.4)]
    assert ratios(results)[0]["memory"] is None
    assert cells(format_ratios(results))[0][-1] == ""
