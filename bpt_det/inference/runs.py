"""Trained runs as inference takes them: config, checkpoint, and the pixels of an image."""

import copy
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from omegaconf import DictConfig

from bpt_det.config.custom_data import chosen_keys
from bpt_det.config.loading import Adapt, load_config
from bpt_det.config.overrides import apply_overrides
from bpt_det.data.images import ImageLike, to_rgb
from bpt_det.engine.checkpoint import LAST_CHECKPOINT
from bpt_det.engine.run import CONFIG_NAME
from bpt_det.engine.run_folder import last_checkpoint
from bpt_det.utils.errors import InputError
from bpt_det.vit.weights.files import SHIPPED_PREFIX, shipped_names

from .hub import download_task

ChannelOrder = Literal["RGB", "BGR"]
CHANNEL_ORDERS = ("RGB", "BGR")
Model = TypeVar("Model", bound="TrainedModel")

logger = logging.getLogger(__name__)


def read_config(
    config: str | os.PathLike | DictConfig,
    overrides: Sequence[str],
    trust: Sequence[str],
    adapt: Adapt | None = None,
    *,
    device: str | None = None,
) -> DictConfig:
    """Return a config to run a trained model by.

    Args:
        config: path of one, or a loaded one, which is not changed.
        overrides: settings as ``key=value``.
        trust: packages whose classes and functions a ``config.yaml`` may name.
        adapt: see `load_config`.
        device: in place of ``train.device``, if given.

    Raises:
        InputError: it cannot be used.
    """
    if isinstance(config, DictConfig):
        cfg = apply_overrides(copy.deepcopy(config), overrides)
        if adapt is not None:
            adapt(cfg, overrides)
    else:
        cfg = load_config(str(Path(config).expanduser()), overrides, adapt, trust=trust)
    if device is not None:
        cfg.train.device = device
    return cfg


def check_checkpoint(checkpoint: str | os.PathLike) -> None:
    """Check that a checkpoint is named.

    Raises:
        InputError: it is empty.
    """
    if not checkpoint:
        raise InputError("no checkpoint given; pass the path of a model_*.pth.")


def find_run(folder: str | os.PathLike, checkpoint: str | None = None) -> tuple[str, str]:
    """Return the paths of config and checkpoint of a training run.

    Args:
        folder: ``train.output_dir`` of the run.
        checkpoint: name of a file in it; None takes the last one.

    Raises:
        InputError: the folder holds no config, or no last checkpoint.
    """
    path = Path(folder).expanduser()
    if not (path / CONFIG_NAME).is_file():
        raise InputError(f"'{folder}' holds no {CONFIG_NAME}; give the folder of a run.")
    chosen = last_checkpoint(str(path)) if checkpoint is None else str(path / checkpoint)
    return str(path / CONFIG_NAME), chosen


class TrainedModel:
    """Base of what is built of config and checkpoint: of a training run, or of a task file."""

    def __init__(self, config: str, checkpoint: str) -> None:
        raise NotImplementedError

    @classmethod
    def from_run(
        cls: type[Model], folder: str | os.PathLike, checkpoint: str | None = None, **options: Any
    ) -> Model:
        """Return the model of a training run.

        Args:
            folder: ``train.output_dir`` of the run.
            checkpoint: name of a file in it, such as ``model_best.pth``; None takes the last one.
            options: of the class.

        Raises:
            InputError: the folder holds no config or no such checkpoint, or see the class.
        """
        return cls(*find_run(folder, checkpoint), **options)

    @classmethod
    def from_task(cls: type[Model], task: str, vit: Any = None, **options: Any) -> Model:
        """Return the model of a task file, on its frozen ViT."""
        raise NotImplementedError

    @classmethod
    def from_hub(
        cls: type[Model],
        repository: str,
        vit: Any = None,
        revision: str | None = None,
        **options: Any,
    ) -> Model:
        """Return the model of a task file on a model hub.

        Args:
            repository: ``OWNER/NAME``, see `download_task`.
            vit: of `from_task`.
            revision: branch, tag or commit; None: the latest.
            options: of the class.

        Raises:
            InputError: there is none, the hub does not answer, or see `from_task`.
        """
        return cls.from_task(download_task(repository, revision), vit, **options)


def read_pixels(image: ImageLike, channel_order: ChannelOrder) -> np.ndarray:
    """Return an image as RGB (H, W, 3), uint8; the order is that of the channels of arrays."""
    pixels = to_rgb(image)
    is_bgr = isinstance(image, np.ndarray) and channel_order == "BGR"
    return pixels[:, :, ::-1] if is_bgr else pixels


def default_checkpoint(cfg: DictConfig, config_file: str, overrides: Sequence[str] = ()) -> str:
    """Return the checkpoint to take where none is named, and log it.

    It is ``train.init_checkpoint`` of the overrides; else the last checkpoint of a run, which is
    that of a ``config.yaml`` in its folder, or lies in ``train.output_dir``; else
    ``train.init_checkpoint`` of the config, which a run starts from. Without any of these, it is
    the checkpoint that comes with the package for a config that is no run's own, if there is one:
    ``bpt_det:cascade_bpt_s_shapes.pth`` for ``shapes/cascade_bpt_s``.

    Args:
        cfg: the loaded config.
        config_file: what it was loaded from.
        overrides: settings as ``key=value`` that it was loaded with.

    Raises:
        InputError: there is none.
    """
    chosen = chosen_keys(overrides)
    if cfg.train.init_checkpoint and "train.init_checkpoint" in chosen:
        return cfg.train.init_checkpoint
    folder = Path(cfg.train.output_dir)
    own = Path(config_file).expanduser()
    if own.name == CONFIG_NAME and "train.output_dir" not in chosen and _has_checkpoint(own.parent):
        folder = own.parent
    shipped = f"{SHIPPED_PREFIX}{folder.name}_{folder.parent.name}.pth"
    if _has_checkpoint(folder):
        checkpoint = last_checkpoint(folder)
    elif cfg.train.init_checkpoint:
        checkpoint = cfg.train.init_checkpoint
    elif own.suffix != ".yaml" and shipped.removeprefix(SHIPPED_PREFIX) in shipped_names():
        checkpoint = shipped
    else:
        checkpoint = last_checkpoint(folder)
    logger.info("No checkpoint was named: using '%s'", checkpoint)
    return checkpoint


def _has_checkpoint(folder: Path) -> bool:
    return (folder / LAST_CHECKPOINT).is_file()
