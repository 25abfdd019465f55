"""Reading metrics.json of a run."""

import json

import pytest

from bpt_det.engine.metrics import read_final_metrics, read_records
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


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("val/top1", {"val/top1": 30.0, "val/loss": 1.5}),
        ("test/top1", {"test/top1": 28.0}),
        (["test/top1", "val/top1"], {"test/top1": 28.0}),
        (["bbox/AP", "val/loss"], {"val/top1": 30.0, "val/loss": 1.5}),
    ],
)
def test_the_last_evaluation_is_the_last_record_with_such_a_metric(run, metric, expected):
    assert read_final_metrics(run, metric) == expected


def test_a_run_without_such_an_evaluation_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"metrics.json' holds no evaluation with bbox/AP; train"):
        read_final_metrics(run)
    with pytest.raises(InputError, match=r"holds no evaluation with a/b or bbox/AP"):
        read_final_metrics(tmp_path / "absent", ["bbox/AP", "a/b"])


def test_lines_that_were_cut_off_are_left_out(run):
    with (run / "metrics.json").open("a") as file:
        file.write('{"iteration": 6, "val/to{"iteration": 7, "val/top1": 1.0}\n')
        file.write('{"iteration": 8, "val/top1": 40.0}\n3\n{"iteration": 9, "val/t')
    expected = [*RECORDS, {"iteration": 8, "val/top1": 40.0}]
    assert list(read_records(run / "metrics.json")) == expected
