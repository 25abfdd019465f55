"""Summary of a run: what is trained on what, for how long and where, before it begins."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from bpt_det.config.tree import find_vit_owners
from bpt_det.prompts import FactoredPrompt
from bpt_det.vit import adapt

from .loaders import find_class_names
from .precision import Precision, computes_bfloat16
from .protocols import prompted_networks

_WIDTH = 12  # of the labels


def summarize_training(
    cfg: DictConfig,
    model: nn.Module,
    loaders: Mapping[str, Any],
    optimizer: torch.optim.Optimizer,
    precision: Precision,
    *,
    batch_size: int,
    start_iteration: int = 0,
) -> str:
    """Return the summary of a training.

    Args:
        cfg: its config.
        model: what is trained.
        loaders: by name, ``train`` among them; None: there is none of this name.
        optimizer: of the run, its rates as they are used.
        precision: device and number format.
        batch_size: images of an iteration.
        start_iteration: of a resumed run.
    """
    settings = cfg.train
    length = f"{settings.max_iter:,} iterations"
    epochs = count_epochs(settings.max_iter, batch_size, loaders["train"])
    if epochs is not None:
        length += f" = {epochs:.3g} epochs"
    if start_iteration:
        length += f", resumed at {start_iteration:,}"
    rates = sorted({group["lr"] for group in optimizer.param_groups})
    rate = " to ".join(f"{value:g}" for value in dict.fromkeys((rates[0], rates[-1])))
    period = settings.eval_period
    evaluation = f"every {period:,}" if 0 < period < settings.max_iter else "at the end"
    lines = {
        "schedule": f"{length}; evaluation {evaluation}",
        "batch": f"{batch_size:,} images, peak learning rate {rate}",
    }
    return _summarize("Training", cfg, model, loaders, precision, lines)


def summarize_evaluation(
    cfg: DictConfig, model: nn.Module, loader: Any, precision: Precision, checkpoint: str
) -> str:
    """Return the summary of an evaluation; for the arguments see `summarize_training`."""
    return _summarize(
        "Evaluation", cfg, model, {"test": loader}, precision, {"checkpoint": checkpoint}
    )


def count_epochs(iterations: int, batch_size: int, loader: Any) -> float | None:
    """Return how many epochs iterations are, an epoch being as many as there are whole batches.

    None: the loader's dataset is of an unknown size.
    """
    size = _size(loader)
    return None if not size else iterations / max(1, size // batch_size)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many parameters of a model are trained, and how many are not."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return trained, sum(p.numel() for p in model.parameters()) - trained


def _summarize(
    title: str,
    cfg: DictConfig,
    model: nn.Module,
    loaders: Mapping[str, Any],
    precision: Precision,
    lines: Mapping[str, str],
) -> str:
    trained, frozen = count_parameters(model)
    rows = [
        ("model", _describe_model(model)),
        *_describe_networks(cfg, model),
        ("parameters", f"{trained:,} trained, {frozen:,} frozen"),
        *((name, _describe_data(cfg, name, loader)) for name, loader in loaders.items() if loader),
        *lines.items(),
        ("device", _describe_device(precision)),
        ("output", str(cfg.train.output_dir)),
    ]
    labels = {"train": "train data", "test": "test data", "final_test": "final test"}
    text = [f"  {labels.get(label, label):{_WIDTH}}  {value}" for label, value in rows]
    return "\n".join([title, *text])


def _describe_model(model: nn.Module) -> str:
    heads = getattr(model, "roi_heads", None)
    return type(model).__name__ + (f" with {type(heads).__name__}" if heads is not None else "")


def _describe_networks(cfg: DictConfig, model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the lines on the ViT, on its prompts and on its tuning."""
    for _, network in prompted_networks(model):
        vit = adapt(network.vit)
        weights = next((node.vit.get("checkpoint") for _, node in find_vit_owners(cfg)), None)
        patches = f"{vit.patch_size}x{vit.patch_size} patches"
        text = f"{len(vit.blocks)} blocks, {vit.embed_dim} wide, {patches}"
        origin = f"weights {weights}" if weights else "random weights"
        yield "ViT", f"{text}, {'frozen' if network.frozen else 'trained'}; {origin}"
        if network.tuning is not None:
            tuned, _ = count_parameters(network.tuning)
            blocks = ", ".join(network.tuning.blocks)
            yield "tuning", f"{network.tuning.name}, {tuned:,} parameters, in blocks {blocks}"
        prompts: Any = dict(network.prompts.named_children())
        if not prompts:
            yield "prompts", "none"
            continue
        first = next(iter(prompts.values()))
        text = f"{type(first).__name__}, {first.prompt_length} tokens"
        if isinstance(first, FactoredPrompt):
            text += f" of rank {first.coeff.shape[1]}"
        blocks = f"block{'s' * (len(prompts) > 1)} {', '.join(prompts)}"
        yield "prompts", f"{text}, in {blocks}"


def _describe_data(cfg: DictConfig, name: str, loader: Any) -> str:
    size, names = _size(loader), find_class_names(cfg, loader, name)
    parts = []
    if size is not None:
        parts.append(f"{size:,} images")
    if names:
        parts.append(f"{len(names):,} classes")
    dataset = OmegaConf.select(cfg, f"dataloader.{name}.dataset")
    source = dataset.get("names") or dataset.get("name") if OmegaConf.is_dict(dataset) else None
    return ", ".join(parts) + (f" ({source})" if source else "")


def _size(loader: Any) -> int | None:
    dataset: Any = getattr(loader, "dataset", None)
    return len(dataset) if hasattr(dataset, "__len__") else None


def _describe_device(precision: Precision) -> str:
    device = precision.device
    name = f"GPU ({torch.cuda.get_device_name()})" if device == "cuda" else device.upper()
    text = f"{name}, {precision.dtype_name}"
    if device == "cpu" and precision.dtype == torch.float32 and computes_bfloat16(device):
        text += "; train.precision=bfloat16 is faster on it"
    return text
