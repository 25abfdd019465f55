"""Workloads of a variant: forward pass, backbone step, training step, inference; data loading."""

import copy
import itertools
from collections.abc import Sequence

import torch
from detectron2.config import instantiate
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import nn

from bpt_det.engine import Trainer
from bpt_det.engine.loaders import seed_cpu_generators
from bpt_det.engine.optim import build_optimizer
from bpt_det.engine.precision import Precision

from .measure import Workload
from .synthetic import make_sample
from .variant_table import BARE, DATA, VARIANTS
from .variants import build_bare_vit, build_detector

_NUM_RECORDS = 8  # of the dataset, that data loading goes through
_LEARNING_RATE = 1e-8  # random weights must not diverge; the time is the same


class Models:
    """Models of the variants of a config, each built once, at its first use.

    Args:
        cfg: config of detection; ``dataloader.image_size`` is the side of the images.
        device: where they are.
        seed: of the weights.
    """

    def __init__(self, cfg: DictConfig, device: str, seed: int) -> None:
        self.cfg = cfg
        self._device = device
        self._seed = seed
        self._built: dict[str, nn.Module] = {}

    def detector(self, name: str) -> nn.Module:
        """Return the whole detector of a variant other than ``bare``."""
        return self._get(name)

    def backbone(self, name: str) -> nn.Module:
        """Return the ViT of a variant without its pyramid: images to named maps."""
        model = self._get(name)
        return model if name == BARE else model.backbone.net

    def _get(self, name: str) -> nn.Module:
        if name not in self._built:
            torch.manual_seed(self._seed)
            is_bare = name == BARE
            model = build_bare_vit(self.cfg) if is_bare else build_detector(self.cfg, name)
            self._built[name] = model.to(self._device)
        return self._built[name]


def build_workloads(
    models: Models,
    measure: str,
    variants: Sequence[str],
    batch_size: int,
    precision: Precision,
    seed: int,
) -> list[Workload]:
    """Return the workloads of one measure, one per variant for which it is defined.

    Args:
        models: of the config.
        measure: of `OF_VARIANTS`.
        variants: of `VARIANTS`.
        batch_size: images of a call.
        precision: device and number format.
        seed: of images and of the choices in a training step.
    """
    workloads = []
    for name in variants:
        if name == BARE and measure != "forward":
            continue
        if measure in ("forward", "backbone_step"):
            workloads.append(_of_backbone(models, measure, name, batch_size, precision, seed))
        elif measure == "train_step":
            workloads.append(_training_step(models, name, batch_size, precision, seed))
        else:
            workloads.append(_inference(models, name, batch_size, seed))
    return [workload for workload in workloads if workload is not None]


def _of_backbone(
    models: Models, measure: str, name: str, batch_size: int, precision: Precision, seed: int
) -> Workload | None:
    """Return the ViT's forward pass, or that and the backward pass of its mean squared output."""
    model = models.backbone(name)
    size = models.cfg.dataloader.image_size
    images = torch.randn(
        batch_size, 3, size, size, generator=torch.Generator().manual_seed(seed)
    ).to(precision.device)
    is_step = measure == "backbone_step"
    if is_step and not any(p.requires_grad for p in model.parameters()):
        return None

    def forward() -> None:
        with torch.no_grad(), precision.autocast():
            model.eval()(images)

    def step() -> None:
        model.zero_grad()
        with precision.autocast():
            features = model.train()(images)
        sum(feature.float().square().mean() for feature in features.values()).backward()

    label, run = VARIANTS[name].label, step if is_step else forward
    return Workload(measure, name, label, batch_size, run, model, dtype=precision.dtype)


def _training_step(
    models: Models, name: str, batch_size: int, precision: Precision, seed: int
) -> Workload:
    """Return an iteration of the trainer on a batch that is in memory already."""
    cfg = copy.deepcopy(models.cfg)
    cfg.optimizer.lr = _LEARNING_RATE
    model = models.detector(name).train()
    uses_polygons = cfg.dataloader.train.mapper.instance_mask_format == "polygon"
    size, num_classes = cfg.dataloader.image_size, cfg.model.roi_heads.num_classes
    batch = [
        make_sample(size, num_classes, seed + index, uses_polygons=uses_polygons)
        for index in range(batch_size)
    ]
    optimizer = build_optimizer(cfg, model)
    trainer = Trainer(model, itertools.repeat(batch), optimizer, precision, seed)
    trainer.iter = 0
    storage = EventStorage()

    def step() -> None:
        model.train()
        with storage:
            trainer.run_step()

    label, dtype = VARIANTS[name].label, precision.dtype
    return Workload("train_step", name, label, batch_size, step, model, optimizer, dtype=dtype)


def _inference(models: Models, name: str, batch_size: int, seed: int) -> Workload:
    """Return detection in a batch of images, in float32 as Detectron2 evaluates."""
    cfg, model = models.cfg, models.detector(name)
    size, num_classes = cfg.dataloader.image_size, cfg.model.roi_heads.num_classes
    batch = [make_sample(size, num_classes, seed + index) for index in range(batch_size)]
    for sample in batch:
        del sample["instances"]

    def infer() -> None:
        model.eval()
        with torch.no_grad():
            model(batch)

    return Workload("inference", name, VARIANTS[name].label, batch_size, infer, model)


def build_data_loading(cfg: DictConfig, seed: int) -> Workload:
    """Return the reading and cropping of some training images, one after the other on one core.

    Raises:
        InputError: the data of the config are missing.
    """
    records = list(itertools.islice(instantiate(cfg.dataloader.train.dataset), _NUM_RECORDS))
    mapper = instantiate(cfg.dataloader.train.mapper)

    def load() -> None:
        seed_cpu_generators(seed)
        for record in records:
            mapper(record)

    return Workload(DATA, "mapper", "mapper, one core", len(records), load, counts_flops=False)
