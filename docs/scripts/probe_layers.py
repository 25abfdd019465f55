"""Linear probes on one and on several layers of a frozen ViT, for the page of frozen backbones.

A ridge classifier on frozen features of a classification dataset; its penalty is chosen by
cross-validation within the training images. Prints a Markdown table: test top-1, mean ± standard
deviation over three random 80 % of the training images. Settings of the config follow as key=value:

    PYTHONPATH=. python docs/scripts/probe_layers.py fgvc/cub method=frozen pretraining=supervised \
        model.backbone.vit.checkpoint=timm:NAME dataloader.image_size=96 dataloader.resize_size=108
"""

import sys
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

import numpy as np
import torch
from detectron2.config import instantiate
from omegaconf import DictConfig
from sklearn.linear_model import RidgeClassifierCV
from tabulate import tabulate
from torch import Tensor

from bpt_det.classification import use_classification_data
from bpt_det.classification.layouts import load_classification
from bpt_det.config import load_config
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


def rows_of(count: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Return what is probed, by its name, for a ViT of so many blocks."""
    depths = [count * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
    last, last_four = [count - 1], list(range(count - 4, count))
    named = {"last block": last, "last four blocks": last_four, "four depths": depths}
    rows: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    for name, chosen in named.items():
        rows[f"class token, {name}"] = lambda c, m, x=chosen: c[:, x].flatten(1)
    rows["the last block with random features"] = lambda c, m: _widen(c[:, -1], 4)
    for name, chosen in named.items():
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


def main(arguments: Sequence[str]) -> int:
    """Print the table for the config and the settings of a command line."""
    name, *settings = arguments
    cfg = load_config(name, settings, use_classification_data)
    train, test = extract(cfg, "trainval"), extract(cfg, "test")
    rows = []
    for title, take in rows_of(train[0].shape[1]).items():
        features, held_out = take(*train[:2]).numpy(), take(*test[:2]).numpy()
        values = []
        for seed in _SEEDS:
            order = np.random.default_rng(seed).permutation(len(features))
            chosen = order[: round(_SHARE * len(features))]
            values.append(score(features[chosen], train[2][chosen], held_out, test[2]))
        rows.append((title, features.shape[1], f"{fmean(values):.1f} ± {stdev(values):.1f}"))
        print(rows[-1], file=sys.stderr, flush=True)
    print(tabulate(rows, ["features", "numbers", "test top-1"], tablefmt="pipe"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
