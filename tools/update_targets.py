"""Write the list of what a YAML config may name, from configs/ and the public names of packages.

Example: python tools/update_targets.py
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import torch
from detectron2.config import LazyConfig
from detectron2.utils.registry import _convert_target_to_string as name_of_target
from omegaconf import OmegaConf

from bpt_det.config.files import config_folder
from bpt_det.config.yaml_files import TARGETS_FILE

# Rooms whose public classes a config may name, beside what the shipped configs name.
ROOMS = ("prompts", "vit", "detection", "classification", "pretraining")
# What the shipped configs named before: the config.yaml of an earlier run is still read.
FORMER = ("detectron2.modeling.poolers.ROIPooler",)
HEADER = "# Written by tools/update_targets.py: full names that a YAML config may use.\n"


def named_in_configs() -> Iterator[Any]:
    """Yield every class and function in the shipped configs."""
    for path in sorted(config_folder().rglob("*.py")):
        yield from _callables(OmegaConf.to_container(LazyConfig.load(str(path)), resolve=False))


def public_classes() -> Iterator[type]:
    """Yield our own models and prompts, Detectron2's transforms and PyTorch's optimizers."""
    for room in ROOMS:
        module = importlib.import_module(f"bpt_det.{room}")
        yield from (value for name, value in vars(module).items() if _is_public(name, value))
    transforms = importlib.import_module("detectron2.data.transforms")
    bases = (transforms.Augmentation, transforms.Transform)
    yield from (value for value in vars(transforms).values() if _is_class(value, bases))
    for info in pkgutil.iter_modules(torch.optim.__path__):
        if not info.name.startswith("_"):
            module = importlib.import_module(f"torch.optim.{info.name}")
            optimizers = (v for v in vars(module).values() if _is_class(v, torch.optim.Optimizer))
            yield from (kind for kind in optimizers if not kind.__name__.startswith("_"))


def list_targets() -> str:
    """Return the content of the list."""
    names = set(FORMER)
    for target in (*named_in_configs(), *public_classes()):
        names |= {name_of_target(target), f"{target.__module__}.{target.__qualname__}"}
    return HEADER + "".join(f"{name}\n" for name in sorted(names))


def _callables(content: Any) -> Iterator[Any]:
    if isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _callables(value)
    elif callable(content):
        yield content


def _is_public(name: str, value: Any) -> bool:
    return not name.startswith("_") and _is_class(value, object)


def _is_class(value: Any, base: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, base)


if __name__ == "__main__":
    TARGETS_FILE.write_text(list_targets(), encoding="utf-8")
