"""Two processes under gloo: each sees half a batch, gradients are averaged, weights stay equal."""

import copy
import os
import sys
from argparse import Namespace

import pytest
import torch
import torch.distributed as dist
from detectron2.config import LazyConfig, instantiate
from detectron2.engine.defaults import create_ddp_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.cli import train_cls
from bpt_det.cli.arguments import build_training_parser
from bpt_det.cli.launch import run_tool, run_training_tool
from bpt_det.config import load_config
from bpt_det.engine import (
    FrozenAwareCheckpointer,
    Trainer,
    evaluate,
    load_trained_model,
    read_result,
)
from bpt_det.engine.loaders import position_seed
from bpt_det.engine.metrics import read_final_metrics, read_records
from bpt_det.engine.precision import Precision
from tests.support import class_trees
from tests.support.classifiers import shrink_classifier
from tests.support.detectors import shrink, use_shapes
from tests.support.processes import run_in_two_processes

SEED = 4


def build(shapes_root, total_batch_size):
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.dataloader.train.total_batch_size = total_batch_size
    torch.manual_seed(0)  # the same initial weights in every process
    model = instantiate(cfg.model).train()
    return model, instantiate(cfg.dataloader.train)


def work(rank, shapes_root, folder):
    """One of the two processes: two steps on its half of the data."""
    model, loader = build(shapes_root, total_batch_size=4)
    gradients = {}
    ddp = create_ddp_model(model, broadcast_buffers=False, device_ids=None)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    trainer = Trainer(ddp, loader, optimizer, Precision("cpu", torch.float32), SEED)

    def keep_first_gradients(*_):
        if not gradients:
            named = model.named_parameters()
            gradients.update({n: p.grad.clone() for n, p in named if p.requires_grad})

    optimizer.register_step_pre_hook(keep_first_gradients)
    trainer.train(0, 2)
    torch.save(
        {"gradients": gradients, "weights": dict(model.state_dict())}, f"{folder}/{rank}.pth"
    )
    FrozenAwareCheckpointer(ddp, folder).save("model")


def half_gradients(shapes_root, rank, monkeypatch):
    """The gradients of one half of the batch, computed in this process."""
    for target in ("detectron2.utils.comm", "detectron2.data.samplers.distributed_sampler.comm"):
        monkeypatch.setattr(f"{target}.get_rank", lambda: rank)
        monkeypatch.setattr(f"{target}.get_world_size", lambda: 2)
    model, loader = build(shapes_root, total_batch_size=4)
    batch = next(iter(loader))
    monkeypatch.undo()
    torch.manual_seed(position_seed(SEED, rank))
    with EventStorage(0):
        sum(model(copy.deepcopy(batch)).values()).backward()
    return {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def test_two_processes_average_their_halves_and_stay_equal(
    shapes_root, tmp_path, monkeypatch, repository_root
):
    monkeypatch.chdir(repository_root)
    run_in_two_processes(work, tmp_path, shapes_root, str(tmp_path))
    results = [torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in range(2)]

    halves = []
    for rank in range(2):
        with monkeypatch.context() as patch:
            patch.chdir(repository_root)
            halves.append(half_gradients(shapes_root, rank, patch))
    assert results[0]["gradients"].keys() == halves[0].keys()
    for name, gradient in results[0]["gradients"].items():
        expected = (halves[0][name] + halves[1][name]) / 2
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6, msg=name)
    assert any(not torch.allclose(halves[0][n], halves[1][n]) for n in halves[0])

    for name, weight in results[0]["weights"].items():
        assert torch.equal(weight, results[1]["weights"][name]), name
    saved = torch.load(tmp_path / "model.pth", weights_only=True)["model"]
    assert all(torch.equal(value, results[0]["weights"][name]) for name, value in saved.items())


def train(arguments):
    return run_training_tool(build_training_parser("train", "").parse_intermixed_args(arguments))


def run(rank, arguments, main=train):
    """The whole main job in one of two processes."""
    status = main(arguments)
    if status:
        sys.exit(status)


def run_as_ray_train(rank, arguments):
    """The same where the program that has made the process group says so, as Ray Train does."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_PORT="1")
    run(rank, arguments)
    assert dist.is_initialized() and comm.get_local_size() == 2


def write_config(shapes_root, folder):
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.train.max_iter = 2
    cfg.train.output_dir = str(folder / "run")
    LazyConfig.save(cfg, str(folder / "config.yaml"))
    return ["--config-file", str(folder / "config.yaml")]


def test_two_processes_train_and_score_every_image_once(
    shapes_root, tmp_path, monkeypatch, repository_root
):
    monkeypatch.chdir(repository_root)
    arguments = write_config(shapes_root, tmp_path)
    run_in_two_processes(run, tmp_path, arguments)
    metrics = read_final_metrics(tmp_path / "run")
    result = read_result(tmp_path / "run")
    assert (result.status, result.iterations) == ("finished", 2)
    assert result.metrics["last"].keys() == metrics.keys()

    cfg = load_config(arguments[1])
    cfg.train.output_dir = str(tmp_path / "alone")
    (tmp_path / "alone/inference").mkdir(parents=True)
    checkpoint = str(tmp_path / "run/model_final.pth")
    alone = evaluate(cfg, load_trained_model(cfg, checkpoint))
    for name in ("AP", "AP50", "APs"):
        for task in ("bbox", "segm"):
            assert metrics[f"{task}/{name}"] == pytest.approx(alone[task][name], nan_ok=True)


def test_bad_input_in_two_processes_ends_both_with_one_line(
    shapes_root, tmp_path, monkeypatch, repository_root, capfd
):
    monkeypatch.chdir(repository_root)
    arguments = [*write_config(shapes_root, tmp_path), "model.roi_heads.num_classes=7"]
    status = run_tool(lambda: run_in_two_processes(run, tmp_path, arguments), Namespace())
    out, err = capfd.readouterr()
    assert status == 2
    assert "Traceback" not in out + err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert 1 <= len(lines) <= 2 and "has 10 classes but the model has num_classes=7" in lines[0]


def whole_run(shapes_root, folder, **settings):
    """The arguments of a run of 3 iterations with averaged weights and an evaluation."""
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.train.update(max_iter=3, log_period=1, output_dir=str(folder), device="cpu")
    cfg.train.ema.decay = 0.5
    cfg.dataloader.train.total_batch_size = settings.pop("total_batch_size")
    cfg.train.update(settings)
    LazyConfig.save(cfg, f"{folder}.yaml")
    return ["--config-file", f"{folder}.yaml"]


def tiny_classifier(cub, folder, **settings):
    cfg = load_config("configs/fgvc/cub.py", ["method=bpt_s"])
    shrink_classifier(cfg, settings.pop("total_batch_size"))
    cfg.dataloader.root = str(cub)
    cfg.train.update(max_iter=3, log_period=1, output_dir=str(folder))
    cfg.train.update(epochs=None, eval_epochs=None, eval_period=3, **settings)
    LazyConfig.save(cfg, f"{folder}.yaml")
    return ["--config-file", f"{folder}.yaml"]


def assert_equal_runs(one, other):
    """Weights, averages, optimizer and every logged value agree to float error."""
    assert_equal_weights(one, other)
    logs = [list(read_records(f"{folder}/metrics.json")) for folder in (one, other)]
    assert len(logs[0]) == len(logs[1]) > 0
    for left, right in zip(*logs, strict=True):
        for name in {
            key for key in left if "loss" in key or key.startswith(("bbox", "segm", "val"))
        }:
            assert right[name] == pytest.approx(left[name], rel=1e-4, abs=1e-6, nan_ok=True), name


def assert_equal_weights(one, other):
    states = [torch.load(f"{folder}/model_final.pth", weights_only=True) for folder in (one, other)]
    flat = [dict(flatten(state)) for state in states]
    assert flat[0].keys() == flat[1].keys() and len(flat[0]) > 20
    for key, value in flat[0].items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            torch.testing.assert_close(flat[1][key], value, rtol=1e-4, atol=1e-6, msg=key)


def flatten(value, key=""):
    if not isinstance(value, dict):
        yield key, value
        return
    for name, item in value.items():
        yield from flatten(item, f"{key}/{name}")


def test_two_processes_train_as_one_that_accumulates_two_batches(
    shapes_root, tmp_path, monkeypatch, repository_root
):
    """Detection samples proposals at random, and its losses are means over a batch's own counts."""
    monkeypatch.chdir(repository_root)
    alone = whole_run(shapes_root, tmp_path / "alone", total_batch_size=2, accumulate_steps=2)
    assert train(alone) == 0
    two = whole_run(shapes_root, tmp_path / "two", total_batch_size=4)
    run_in_two_processes(run_as_ray_train, tmp_path, two)
    assert_equal_runs(tmp_path / "alone", tmp_path / "two")


def test_two_processes_train_a_classifier_as_one_with_the_same_total_batch(
    tmp_path, monkeypatch, repository_root
):
    """11 test images: one process has 6, the other 5."""
    monkeypatch.chdir(repository_root)
    cub = class_trees.write_cub(tmp_path / "CUB_200_2011")
    alone = tiny_classifier(cub, tmp_path / "alone", total_batch_size=8)
    assert train_cls.main(alone) == 0
    two = tiny_classifier(cub, tmp_path / "two", total_batch_size=8)
    run_in_two_processes(run, tmp_path, two, train_cls.main)
    assert_equal_runs(tmp_path / "alone", tmp_path / "two")
