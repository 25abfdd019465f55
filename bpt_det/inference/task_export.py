"""Export of a trained model as a task file, and what is built from such a file again."""

import copy
import json
import os
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from detectron2.config import LazyConfig
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from bpt_det import __version__
from bpt_det.config.tree import find_vit_owner
from bpt_det.config.yaml_files import parse_yaml_config
from bpt_det.engine.checkpoint import BEST_NAME, FINAL_NAME, read_checkpoint
from bpt_det.engine.model_state import frozen_fingerprints, trained_state
from bpt_det.engine.result import read_result
from bpt_det.engine.run import load_trained_model
from bpt_det.engine.task_file import find_task, read_card, write_task
from bpt_det.utils.errors import InputError
from bpt_det.vit.timm_models import PREFIX as TIMM_PREFIX
from bpt_det.vit.weights.loading import license_of

_LARGE = 1_000_000  # entries of a matrix that is stored in 8 bits
_MAX_ERROR = 0.05  # of it then: root mean square, relative to that of its entries
_SIZES = ("embed_dim", "num_blocks", "num_heads", "patch_size")
_METRICS = {BEST_NAME: "best", FINAL_NAME: "last"}


def export_task(
    cfg: DictConfig,
    checkpoint: str,
    folder: str | Path,
    *,
    compact: bool = False,
    backbone_license: str | None = None,
) -> Path:
    """Write the task file of a trained detector or classifier, and return its path.

    Left out are the frozen ViT, the optimizer and the state of the run, so training cannot be
    resumed from it. What the checkpoint would give `Predictor` is what is written. Metrics and
    command are those of the ``result.json`` beside the checkpoint.

    Args:
        cfg: config of the run; what it says of the model and of the images at test time is kept.
        checkpoint: file of the run.
        folder: for the file and its card.
        compact: store weights as float16, and matrices of a million entries or more as 8-bit floats
            (e4m3) where that changes them by 5 % or less. They are loaded as float32. Evaluate the
            file: it is another model, if only by a little.
        backbone_license: of the ViT's weights; None: as their publisher's, if that is known.

    Raises:
        InputError: the checkpoint does not fit the config, holds a weight too large for float16, or
            a file exists or cannot be written.
    """
    content = read_checkpoint(checkpoint)
    if "frozen" not in content:
        raise InputError(f"'{checkpoint}' is a file of Detectron2's; give one of a run's.")
    is_detector = "roi_heads" in cfg.model
    names = content.get("class_names")
    if names and not is_detector:
        cfg = copy.deepcopy(cfg)
        cfg.model.num_classes = len(names)
    model = load_trained_model(cfg, checkpoint, content=content)
    state = trained_state(model)
    if compact:
        state = {name: _compact(value, name, checkpoint) for name, value in state.items()}
    owner = find_vit_owner(cfg)[1]
    count = cfg.model.roi_heads.num_classes if is_detector else cfg.model.num_classes
    metrics, command = _of_run(checkpoint)
    card = {
        "task": "detection" if is_detector else "classification",
        "method": _method_of(owner),
        "classes": names or [f"class {index}" for index in range(count)],
        "category_ids": content.get("category_ids"),
        "parameters": _count(model),
        "backbone": {
            "checkpoint": str(owner.vit.checkpoint),
            "license": backbone_license or license_of(str(owner.vit.checkpoint)),
            "fingerprints": frozen_fingerprints(model),
            "sizes": {name: owner.vit[name] for name in _SIZES if name in owner.vit},
        },
        "metrics": metrics,
        "command": command,
        "settings": content.get("settings") or {},
        "made_by": f"{__version__}, torch {torch.__version__}, timm {timm.__version__}",
        "config": _config_text(cfg),
    }
    return write_task(folder, state, json.loads(json.dumps(card)))


def open_task(
    location: str | os.PathLike,
    vit: str | os.PathLike | None,
    kind: str,
    trust: Sequence[str] = (),
) -> tuple[DictConfig, str]:
    """Return the config of a task file, and the path of the file.

    Args:
        location: a task file, or a folder that has one.
        vit: weights of the frozen ViT in place of those that the card names; None: those.
        kind: ``detection`` or ``classification``.
        trust: packages whose classes and functions its config may name.

    Raises:
        InputError: it is no task file of this kind, or its config names what is not allowed.
    """
    path = find_task(os.fspath(location))
    card = read_card(path)
    if card.get("task") != kind:
        raise InputError(f"'{path}' is a task file of {card.get('task')}, not of {kind}.")
    cfg = parse_yaml_config(card["config"].encode(), f"config of {path}", trust)
    if vit is not None:
        find_vit_owner(cfg)[1].vit.checkpoint = os.fspath(vit)
    return cfg, path


def _config_text(cfg: DictConfig) -> str:
    """Return the YAML of what a `Predictor` or `ImageClassifier` needs of a config."""
    parts = {
        "model": _plain(cfg.model),
        "dataloader": {"test": {"mapper": _plain(cfg.dataloader.test.mapper)}},
        "train": {"device": "auto", "ddp": _plain(cfg.train.ddp), "init_checkpoint": ""},
    }
    kept = OmegaConf.create(parts, flags={"allow_objects": True})
    owner = find_vit_owner(kept)[1]
    is_timm = str(owner.vit.checkpoint).startswith(TIMM_PREFIX)  # it gives the architecture too
    if not owner.get("frozen", True) and not is_timm:
        owner.vit.checkpoint = None  # the file holds the weights
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        LazyConfig.save(kept, str(path))
        return path.read_text(encoding="utf-8")


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _method_of(owner: DictConfig) -> dict[str, Any]:
    """Return the settings of prompts, tuning and training of the ViT, by name."""
    method: dict[str, Any] = {}
    for kind in ("prompt", "tuning"):
        part = owner.get(kind)
        if part is None:
            continue
        target = part["_target_"]
        method[kind] = getattr(target, "__name__", str(target).rpartition(".")[2])
        plain = {k: v for k, v in part.items() if isinstance(v, bool | int | float | str)}
        method |= {k: v for k, v in plain.items() if k not in ("_target_", "embed_dim")}
    if owner.get("prompt") is not None:
        placement = owner.get("placement", "shallow")
        method["placement"] = str(placement)
    if not owner.get("frozen", True):
        method["frozen"] = False
    return method or {"prompt": "none"}


def _count(model: nn.Module) -> dict[str, int]:
    """Return the number of trained values of prompts, heads and all else."""
    counts = dict.fromkeys(("prompts", "heads", "others"), 0)
    trained = trained_state(model)
    for name, value in model.named_parameters():
        if name in trained:
            parts = name.split(".")
            is_head = any("head" in part or part == "proposal_generator" for part in parts)
            kind = "prompts" if "prompts" in parts else "heads" if is_head else "others"
            counts[kind] += value.numel()
    return counts


def _of_run(checkpoint: str) -> tuple[dict[str, float], str]:
    """Return overall metrics and command of the run whose folder a checkpoint lies in, if any."""
    path = Path(checkpoint)
    try:
        result = read_result(path.parent)
    except InputError:
        return {}, ""
    metrics = result.metrics.get(_METRICS.get(path.stem, ""), {})
    of_all = {
        name: value
        for name, value in metrics.items()
        if value is not None and "-" not in name.rpartition("/")[2]  # others are of one class
    }
    return of_all, shlex.join(result.command)


def _compact(value: Tensor, name: str, source: str) -> Tensor:
    if not value.is_floating_point():
        return value
    if value.dim() == 2 and value.numel() >= _LARGE:
        small = value.to(torch.float8_e4m3fn)
        if (small.float() - value).norm() <= _MAX_ERROR * value.norm():  # no if NaN
            return small
    half = value.half()
    if not torch.isfinite(half).all():
        raise InputError(f"'{source}': {name} is too large for float16; write it without compact.")
    return half
