"""Two processes under gloo, each with its share of the images."""

import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.data.samplers import InferenceSampler
from detectron2.evaluation import inference_on_dataset

from tests.support.predictions import Recorded, make_data, new_evaluator, run
from tests.support.vits import leave_together


def work(rank, port, folder):
    """One of two processes, with its share of the images."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    data = make_data()
    batches = [[data[index]] for index in InferenceSampler(len(data))]
    evaluator = new_evaluator(data, output_dir=f"{folder}/{rank}")
    results = inference_on_dataset(Recorded(), batches, evaluator)
    torch.save((len(batches), results), f"{folder}/{rank}.pth")
    leave_together()


def test_two_processes_score_and_write_the_same_as_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, args=(port, str(tmp_path)), nprocs=2)
    results = [torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in range(2)]
    alone = run(make_data(), output_dir=str(tmp_path / "alone"))
    assert results == [(15, alone), (14, {})]
    assert not (tmp_path / "1").exists()
    for name in ("predictions.csv", "confusion.csv", "per_class.csv", "most_confused.png"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
