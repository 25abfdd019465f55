"""Two processes under gloo, each with its share of the images."""

import time
from types import SimpleNamespace

import pytest
import torch
from detectron2.data.samplers import InferenceSampler
from detectron2.evaluation import inference_on_dataset
from omegaconf import OmegaConf
from torch.utils.data import DistributedSampler

from bpt_det.classification import ClassificationEvaluator
from bpt_det.engine import evaluation
from bpt_det.engine.evaluation import evaluate, wait_for_all
from bpt_det.engine.processes import PeerError
from tests.support.predictions import Recorded, make_data, new_evaluator, run
from tests.support.processes import run_in_two_processes

FILES = ("predictions.csv", "confusion.csv", "per_class.csv", "most_confused.png")
LIMIT = 1.0  # seconds that communication may last
NO_CONFIG = OmegaConf.create({"dataloader": {}, "train": {}})


def work(rank, folder, sampler):
    """One of two processes, with its share of the images."""
    data = make_data()
    batches = [[data[index]] for index in sampler(data)]
    evaluator = new_evaluator(data, output_dir=f"{folder}/{rank}")
    results = inference_on_dataset(Recorded(), batches, evaluator)
    torch.save((len(batches), results), f"{folder}/{rank}.pth")


def disjoint(data):
    return InferenceSampler(len(data))


def padded(data):
    """As many images for each process, so one of 29 for both."""
    return DistributedSampler(data, shuffle=False)


@pytest.mark.parametrize(("sampler", "counts"), [(disjoint, (15, 14)), (padded, (15, 15))])
def test_two_processes_score_and_write_the_same_as_one(tmp_path, sampler, counts):
    run_in_two_processes(work, tmp_path, str(tmp_path), sampler)
    results = [torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in range(2)]
    alone = run(make_data(), output_dir=str(tmp_path / "alone"))
    assert [result[0] for result in results] == list(counts)
    assert results[0][1]["val"] == pytest.approx(alone["val"]) and results[1][1] == {}
    assert not (tmp_path / "1").exists()
    if sampler is disjoint:  # padded ones deal images out in turn: another order
        for name in FILES:
            expected = (tmp_path / "alone" / name).read_bytes()
            assert (tmp_path / "0" / name).read_bytes() == expected


class Loader(list):
    """Batches of one process, with what the engine reads of a loader."""

    def __init__(self, data):
        super().__init__([data[index]] for index in InferenceSampler(len(data)))
        self.dataset = data
        self.class_names = data.class_names


class Slow(Recorded):
    """A model that takes longer for its images than a collective may."""

    def forward(self, batch):
        time.sleep(3 * LIMIT / 14)
        return super().forward(batch)


def evaluate_slowly(rank, folder):
    model = Slow() if rank else Recorded()
    evaluators = {"": ClassificationEvaluator()}
    results = evaluate(NO_CONFIG, model, Loader(make_data()), evaluators=evaluators)
    torch.save(results, f"{folder}/{rank}.pth")


def test_a_process_slower_than_communication_may_be_is_waited_for(tmp_path):
    run_in_two_processes(evaluate_slowly, tmp_path, str(tmp_path), seconds=LIMIT)
    results = [torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in range(2)]
    assert results == [run(make_data()), {}]


def wait_for_the_dead(rank):
    if rank == 0:
        verdict = PeerError("process 1 of 2 is silent", 1)
        evaluation.peers_of_run = lambda: SimpleNamespace(verdict=verdict)
        with pytest.raises(PeerError, match="process 1 of 2 is silent"):
            wait_for_all()


def test_a_process_that_has_ended_is_not_waited_for(tmp_path):
    run_in_two_processes(wait_for_the_dead, tmp_path)
