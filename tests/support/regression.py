"""A regression with eight weights, for tests of the training loop that need no images."""

import itertools

import torch
from detectron2.config import LazyCall as L
from detectron2.engine import HookBase
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf
from torch import nn

from bpt_det.config import load_config
from bpt_det.engine import TestLoader, TrainLoader
from bpt_det.utils.errors import InputError


def draw_records(count, seed):
    """Records of three numbers and the two that are to be found from them."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 3, generator=generator)
    return [{"input": x.tolist(), "target": [x.sum().item(), x[0].item()]} for x in inputs]


class AddNoise:
    """A mapper whose samples differ each time where it is asked to augment."""

    def __init__(self, augment):
        self.augment = augment

    def __call__(self, record):
        sample = {key: torch.tensor(value) for key, value in record.items()}
        if self.augment:
            sample["input"] += 0.1 * torch.randn(3)
        return sample


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, batch):
        outputs = self.linear(torch.stack([sample["input"] for sample in batch]))
        if not self.training:
            return list(outputs)
        targets = torch.stack([sample["target"] for sample in batch])
        return {"loss_square": (outputs - targets).square().mean()}


class ErrorEvaluator(DatasetEvaluator):
    """The mean squared error over the samples of all processes, for the main one."""

    def __init__(self, task, output_dir=None):
        self.task = task
        self.output_dir = output_dir

    def reset(self):
        self.errors = []

    def process(self, inputs, outputs):
        for sample, output in zip(inputs, outputs, strict=True):
            self.errors.append((output - sample["target"]).square().mean().item())

    def evaluate(self):
        errors = list(itertools.chain(*comm.gather(self.errors)))
        return {self.task: {"loss": sum(errors) / len(errors)}} if comm.is_main_process() else None


FAULTS = {
    "interrupt": KeyboardInterrupt(),
    "bad input": InputError("image 'a.jpg' cannot be decoded", parameter="dataset"),
    "fault": RuntimeError("no such kernel"),
}


class FailAt(HookBase):
    """A hook that ends a run at an iteration: raises one of FAULTS, or makes a weight NaN."""

    def __init__(self, iteration, fault):
        self.iteration = iteration
        self.fault = fault

    def after_step(self):
        if self.trainer.iter != self.iteration:
            return
        if self.fault == "weight":
            self.trainer.model.linear.weight.data[0, 0] = float("nan")
        else:
            raise FAULTS[self.fault]


def loader_of(seed):
    dataset = L(draw_records)(count=7, seed=seed)
    return L(TestLoader)(dataset=dataset, mapper=L(AddNoise)(augment=False), batch_size=3)


def regression_config(folder, *, final_test=False) -> DictConfig:
    """A config with the training settings of the detectors; run it in the repository's folder."""
    cfg = load_config("configs/coco/cascade_bpt_s.py")
    cfg.model = L(Regression)()
    dataset = L(draw_records)(count=11, seed=0)
    mapper = L(AddNoise)(augment=True)
    loader = L(TrainLoader)(dataset=dataset, mapper=mapper, total_batch_size=4, seed=5)
    cfg.dataloader = {"train": loader, "test": loader_of(1)}
    cfg.dataloader.evaluator = L(ErrorEvaluator)(task="val")
    if final_test:
        cfg.dataloader.final_test = loader_of(2)
        cfg.dataloader.final_evaluator = L(ErrorEvaluator)(task="test")
    cfg.lr_multiplier.warmup_iters = 0
    settings = {"max_iter": 6, "eval_period": 2, "log_period": 1, "device": "cpu"}
    best = {"best_metric": "val/loss", "best_metric_mode": "min", "curves": ["val/loss"]}
    cfg.train.report = False  # half a second of drawing
    cfg.train.update(settings, **best, output_dir=str(folder))
    cfg.optimizer.lr = 0.1
    folder.mkdir(exist_ok=True)
    OmegaConf.resolve(cfg.dataloader)
    return cfg
