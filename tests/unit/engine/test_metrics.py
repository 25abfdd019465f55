"""Reading metrics.json and result.json of a run."""

import json
import math

import pytest

from bpt_det.engine.metrics import format_ap_table, read_final_metrics, read_records
from bpt_det.engine.result import RunResult
from bpt_det.utils.errors import InputError

RECORDS = [
    {"iteration": 1, "total_loss": 3.0},
    {"iteration": 2, "val/top1": 20.0, "val/loss": 2.0},
    {"iteration": 4, "val/top1": 30.0, "val/loss": 1.5, "lr": 0.1},
    {"iteration": 5, "test/top1": 28.0},
]


@pytest.fixture
def run(tmp_path):
    text = "".join(json.dumps(record) + "\n" for record in RECORDS)
    (tmp_path / "metrics.json").write_text(text)
    return tmp_path


def test_metrics_of_a_run_are_those_of_its_last_evaluation_and_of_its_final_test(tmp_path):
    metrics = {"last": {"val/top1": 30.0, "val/loss": None}, "best": {}, "final": {"test/top1": 28}}
    RunResult(status="finished", metrics=metrics).write(tmp_path)
    read = read_final_metrics(tmp_path, ["bbox/AP", "val/top1"])
    assert math.isnan(read.pop("val/loss"))
    assert read == {"val/top1": 30.0, "test/top1": 28}


def test_a_run_without_such_a_metric_is_refused_with_its_status(tmp_path):
    with pytest.raises(InputError, match="no run has begun there"):
        read_final_metrics(tmp_path)
    RunResult(status="interrupted").write(tmp_path)
    with pytest.raises(InputError, match=r"\(interrupted\) has no evaluation with a/b or bbox/AP"):
        read_final_metrics(tmp_path, ["bbox/AP", "a/b"])


def test_lines_that_were_cut_off_are_left_out(run):
    with (run / "metrics.json").open("a") as file:
        file.write('{"iteration": 6, "val/to{"iteration": 7, "val/top1": 1.0}\n')
        file.write('{"iteration": 8, "val/top1": 40.0}\n3\n{"iteration": 9, "val/t')
    expected = [*RECORDS, {"iteration": 8, "val/top1": 40.0}]
    assert list(read_records(run / "metrics.json")) == expected


def test_null_is_read_as_nan(tmp_path):
    (tmp_path / "metrics.json").write_text('{"iteration": 1, "bbox/APl": null, "bbox/AP": 2.5}\n')
    (record,) = read_records(tmp_path / "metrics.json")
    assert math.isnan(record.pop("bbox/APl")) and record == {"iteration": 1, "bbox/AP": 2.5}


def test_the_ap_table_has_a_dash_where_there_is_no_value():
    metrics = {"bbox/AP": 41.26, "bbox/APl": math.nan, "segm/AP": 0.0}
    box, mask = (line.split() for line in format_ap_table(metrics).splitlines()[2:])
    assert (box, mask) == (["box", "41.3", *"-----"], ["mask", "0.0", *"-----"])
