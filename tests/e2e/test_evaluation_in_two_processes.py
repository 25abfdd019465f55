"""Two processes under gloo, each with its share of the images."""

import torch
from detectron2.data.samplers import InferenceSampler
from detectron2.evaluation import inference_on_dataset

from tests.support.predictions import Recorded, make_data, new_evaluator, run
from tests.support.processes import run_in_two_processes


def work(rank, folder):
    """One of two processes, with its share of the images."""
    data = make_data()
    batches = [[data[index]] for index in InferenceSampler(len(data))]
    evaluator = new_evaluator(data, output_dir=f"{folder}/{rank}")
    results = inference_on_dataset(Recorded(), batches, evaluator)
    torch.save((len(batches), results), f"{folder}/{rank}.pth")


def test_two_processes_score_and_write_the_same_as_one(tmp_path):
    run_in_two_processes(work, tmp_path, str(tmp_path))
    results = [torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in range(2)]
    alone = run(make_data(), output_dir=str(tmp_path / "alone"))
    assert results == [(15, alone), (14, {})]
    assert not (tmp_path / "1").exists()
    for name in ("predictions.csv", "confusion.csv", "per_class.csv", "most_confused.png"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
