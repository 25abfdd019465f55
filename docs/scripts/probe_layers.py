"""Linear probes on one and on several layers of a frozen ViT, for the page of frozen backbones.

A ridge classifier on frozen features. With a config of classification it probes whole images; its
penalty is chosen by leaving one out. With a config of detection it probes patches: which class, or
none, lies under the center of each. Images become squares of dataloader.image_size, features are
without a norm, and a fifth of the training images chooses the penalty. Prints a table: mean
± standard deviation over three random 80 % of the training images. Settings follow as key=value:

    PYTHONPATH=. python docs/scripts/probe_layers.py fgvc/cub method=frozen pretraining=supervised \
        model.backbone.vit.checkpoint=timm:NAME dataloader.image_size=96 dataloader.resize_size=108
    PYTHONPATH=. python docs/scripts/probe_layers.py coco/mask_rcnn method=frozen \
        vit=supervised_tiny dataloader.image_size=256
"""

import sys
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from detectron2.config import instantiate
from omegaconf import DictConfig
from pycocotools import mask as coco_mask
from sklearn.linear_model import RidgeClassifierCV
from tabulate import tabulate
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from bpt_det.classification import use_classification_data
from bpt_det.classification.layouts import load_classification
from bpt_det.config import load_config
from bpt_det.detection.mapper import read_record_image
from bpt_det.vit.network import adapt

_SEEDS = range(3)
_SHARE = 0.8  # of the training images in each draw
_PENALTIES = np.logspace(1, 5, 9)
_BATCH = 64


@torch.no_grad()
def extract(cfg: DictConfig, split: str) -> tuple[Tensor, Tensor, np.ndarray]:
    """Return class tokens and means of patches after each block, (images, blocks, D), and labels.

    Each has passed the ViT's final norm.
    """
    dataset = cfg.dataloader.train.dataset
    records = load_classification(dataset.name, dataset.get("root"), split)
    mapper = instantiate(cfg.dataloader.test.mapper)
    model = instantiate(cfg.model).eval()
    network = adapt(model.backbone.vit)
    class_tokens, means, labels = [], [], []
    for start in range(0, len(records), _BATCH):
        batch = [mapper(records[i]) for i in range(start, min(start + _BATCH, len(records)))]
        labels += [sample["label"] for sample in batch]
        images = model.normalize(torch.stack([sample["image"] for sample in batch]))
        grid = tuple(side // network.patch_size for side in images.shape[-2:])
        positions = network.positions(grid)
        tokens = network.embed(images)
        layers = []
        for index in range(len(network.blocks)):
            tokens = network.run_block(index, tokens, positions, 0)
            layers.append(network.norm(tokens))
        class_tokens.append(torch.stack([layer[:, 0] for layer in layers], 1))
        means.append(
            torch.stack([layer[:, network.num_prefix_tokens :].mean(1) for layer in layers], 1)
        )
    return torch.cat(class_tokens), torch.cat(means), np.array(labels)


def chosen_blocks(count: int) -> dict[str, list[int]]:
    """Return the blocks that are probed, by their name, for a ViT of so many blocks."""
    depths = [count * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
    last, last_four = [count - 1], list(range(count - 4, count))
    return {"last block": last, "last four blocks": last_four, "four depths": depths}


def rows_of(count: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Return what is probed of whole images, by its name, for a ViT of so many blocks."""
    rows: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    for name, chosen in chosen_blocks(count).items():
        rows[f"class token, {name}"] = lambda c, m, x=chosen: c[:, x].flatten(1)
    rows["the last block with random features"] = lambda c, m: _widen(c[:, -1], 4)
    for name, chosen in chosen_blocks(count).items():
        rows[f"mean of patches, {name}"] = lambda c, m, x=chosen: m[:, x].flatten(1)
    return rows


def _widen(features: Tensor, factor: int) -> Tensor:
    """Return features beside random ones made of them, as many numbers as `factor` layers have."""
    generator = torch.Generator().manual_seed(9)
    width = features.shape[1]
    weights = torch.randn(width, (factor - 1) * width, generator=generator) / width**0.5
    scaled = (features - features.mean(0)) / features.std(0)
    return torch.cat([scaled, (scaled @ weights).relu()], 1)


def score(train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """Return top-1 in percent of a probe on features (images, D)."""
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    probe = RidgeClassifierCV(alphas=_PENALTIES).fit((train - mean) / deviation, labels)
    return 100 * float(probe.score((test - mean) / deviation, truth))


def probe_images(cfg: DictConfig) -> None:
    """Print the table of whole images."""
    train, test = extract(cfg, "trainval"), extract(cfg, "test")
    rows = []
    for title, take in rows_of(train[0].shape[1]).items():
        features, held_out = take(*train[:2]).numpy(), take(*test[:2]).numpy()
        values = []
        for chosen in draws(len(features)):
            values.append(score(features[chosen], train[2][chosen], held_out, test[2]))
        rows.append((title, features.shape[1], summarize(values)))
    print(tabulate(rows, ["features", "numbers", "test top-1"], tablefmt="pipe"))


def draws(count: int) -> list[np.ndarray]:
    """Return the indexes of the training images of each seed."""
    orders = (np.random.default_rng(seed).permutation(count) for seed in _SEEDS)
    return [order[: round(_SHARE * count)] for order in orders]


def summarize(values: Sequence[float]) -> str:
    """Return mean ± standard deviation; the values go to stderr, for differences by seed."""
    print([round(value, 2) for value in values], file=sys.stderr, flush=True)
    return f"{fmean(values):.1f} ± {stdev(values):.1f}"


@torch.no_grad()
def extract_patches(cfg: DictConfig, part: str) -> tuple[Tensor, Tensor]:
    """Return patches after each block, (images, blocks, patches, D), and their class indexes.

    Class K is no object, -1 a region of many, which is not counted; (images, patches).
    """
    records = instantiate(cfg.dataloader[part].dataset)
    vit = instantiate(cfg.model.backbone.net).eval().prompted_vit
    size = cfg.dataloader.image_size
    grid, blocks = size // vit.patch_size, range(len(vit.network.blocks))
    features, labels = [], []
    for record in records:
        image = torch.tensor(read_record_image(record)).permute(2, 0, 1)
        bicubic = InterpolationMode.BICUBIC
        image = transforms.resize(image, [size, size], interpolation=bicubic, antialias=True)
        image = (image.float() - _column(cfg.model.pixel_mean)) / _column(cfg.model.pixel_std)
        features.append(torch.cat(vit.forward_layers(image[None], blocks)))
        labels.append(label_patches(record, grid, cfg.model.roi_heads.num_classes))
    return torch.stack(features), torch.stack(labels)


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(list(values))[:, None, None]


def label_patches(record: dict, grid: int, no_object: int) -> Tensor:
    """Return the class under the center of each patch, (patches,); the smallest object counts."""
    height, width = record["height"], record["width"]
    rows, columns = (
        ((np.arange(grid) + 0.5) * side / grid).astype(int) for side in (height, width)
    )
    labels = np.full((grid, grid), no_object)
    objects = []
    for annotation in record["annotations"]:
        code = annotation["segmentation"]
        if isinstance(code, list):
            code = coco_mask.merge(coco_mask.frPyObjects(code, height, width))
        is_crowd = annotation.get("iscrowd", 0)
        objects.append((coco_mask.area(code), -1 if is_crowd else annotation["category_id"], code))
    for _, label, code in sorted(objects, key=lambda item: item[0], reverse=True):
        labels[coco_mask.decode(code)[rows[:, None], columns] > 0] = label
    return torch.from_numpy(labels.flatten())


def fit_ridge(features: Tensor, labels: Tensor, num_classes: int) -> list[Tensor]:
    """Return the weights (D, classes) of a ridge classifier for each of the penalties."""
    targets = torch.nn.functional.one_hot(labels, num_classes).double()
    values, vectors = torch.linalg.eigh(features.T @ features)
    projected = vectors.T @ (features.T @ (targets - targets.mean(0)))
    return [vectors @ (projected / (values + penalty)[:, None]) for penalty in _PENALTIES]


def measure(predicted: Tensor, labels: Tensor, no_object: int) -> tuple[float, float]:
    """Return mean IoU over the classes of objects that occur, and the share of object patches."""
    ious = []
    for index in labels[labels != no_object].unique():
        both = (predicted == index) & (labels == index)
        ious.append(both.sum() / ((predicted == index) | (labels == index)).sum())
    is_object = labels != no_object
    share = (predicted == labels)[is_object].float().mean()
    return 100 * torch.stack(ious).mean().item(), 100 * share.item()


def score_patches(
    train: Tensor, labels: Tensor, test: Tensor, truth: Tensor, no_object: int
) -> tuple[float, float]:
    """Return what `measure` says of a probe on features (images, patches, D)."""
    mean, deviation = train.flatten(0, 1).mean(0), train.flatten(0, 1).std(0) + 1e-6
    priors = torch.bincount(labels[labels >= 0], minlength=no_object + 1) / (labels >= 0).sum()

    def flat(features: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        features = ((features - mean) / deviation).double()
        return features[classes >= 0], classes[classes >= 0]

    def predict(weights: Tensor, features: Tensor) -> Tensor:
        return (features @ weights + priors).argmax(1)

    held_out = len(train) // 5
    fitted = fit_ridge(*flat(train[held_out:], labels[held_out:]), no_object + 1)
    features, classes = flat(train[:held_out], labels[:held_out])
    scores = [measure(predict(weights, features), classes, no_object) for weights in fitted]
    best = int(np.argmax([iou for iou, _ in scores]))
    weights = fit_ridge(*flat(train, labels), no_object + 1)[best]
    features, classes = flat(test, truth)
    return measure(predict(weights, features), classes, no_object)


def probe_patches(cfg: DictConfig) -> None:
    """Print the table of patches."""
    (train, labels), (test, truth) = (extract_patches(cfg, part) for part in ("train", "test"))
    no_object = cfg.model.roi_heads.num_classes
    blocks = chosen_blocks(train.shape[1])
    rows: dict[str, Callable[[Tensor], Tensor]] = {
        name: lambda x, chosen=chosen: x[:, chosen].transpose(1, 2).flatten(2)
        for name, chosen in blocks.items()
    }
    rows["the last block with random features"] = lambda x: _widen(
        x[:, -1].flatten(0, 1), 4
    ).unflatten(0, (len(x), -1))
    table = []
    for title, take in rows.items():
        features, held_out = take(train), take(test)
        values = [
            score_patches(features[chosen], labels[chosen], held_out, truth, no_object)
            for chosen in draws(len(features))
        ]
        columns = [summarize(column) for column in zip(*values, strict=True)]
        table.append((title, features.shape[2], *columns))
    headings = ["features of a patch", "numbers", "mean IoU", "object patches"]
    print(tabulate(table, headings, tablefmt="pipe"))


def _is_detector(cfg: DictConfig) -> bool:
    return "roi_heads" in cfg.model


def _use_data(cfg: DictConfig, overrides: Sequence[str]) -> Any:
    return None if _is_detector(cfg) else use_classification_data(cfg, overrides)


def main(arguments: Sequence[str]) -> int:
    """Print the table for the config and the settings of a command line."""
    name, *settings = arguments
    cfg = load_config(name, settings, _use_data)
    if _is_detector(cfg):
        probe_patches(cfg)
    else:
        probe_images(cfg)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
