"""Epochs: lengths of a run in epochs, converted into the iterations that the loop counts."""

import logging
import math
from collections.abc import Collection

from omegaconf import DictConfig, OmegaConf

from bpt_det.utils.errors import InputError, check_count

_BATCH_SIZE = "dataloader.train.total_batch_size"
_IN_ITERATIONS = {
    "train.epochs": ("train.max_iter",),
    "train.eval_epochs": ("train.eval_period", "train.checkpointer.period"),
}

logger = logging.getLogger(__name__)


def set_iterations(
    cfg: DictConfig, name: str, num_images: int, chosen: Collection[str] = ()
) -> None:
    """Convert epochs into iterations; what was given as iterations stays, in a saved config too.

    As in the published code an epoch is as many iterations as there are whole batches. In place.

    Args:
        cfg: config with `dataloader.train.total_batch_size` and `train`.
        name: of the dataset, for a warning.
        num_images: training images.
        chosen: keys that a user has set.

    Raises:
        InputError: a number is out of range, or a length is given in both ways.
    """
    _check_batch(cfg, name, num_images)
    batch_size = OmegaConf.select(cfg, _BATCH_SIZE) * cfg.train.get("accumulate_steps", 1)
    per_epoch = max(1, num_images // batch_size)
    for key, in_iterations in _IN_ITERATIONS.items():
        epochs = _positive(cfg, key)
        if epochs is None:
            continue
        given = [other for other in in_iterations if other in chosen]
        if given and key in chosen:
            raise InputError(f"{key} and {given[0]} are both given; leave one of them out.")
        for other in in_iterations:
            if other not in given:
                OmegaConf.update(cfg, other, max(1, round(epochs * per_epoch)))
        if given:
            OmegaConf.update(cfg, key, None)
    if cfg.train.get("epochs") is not None:
        logger.debug(
            "%g epochs of %d images are %d iterations of %d images",
            cfg.train.epochs,
            num_images,
            cfg.train.max_iter,
            batch_size,
        )


def _check_batch(cfg: DictConfig, name: str, num_images: int) -> None:
    for key in (_BATCH_SIZE, "train.accumulate_steps"):
        check_count(key, OmegaConf.select(cfg, key, default=1))
    batch_size = OmegaConf.select(cfg, _BATCH_SIZE)
    if num_images < batch_size:
        logger.warning(
            "%s=%d is more than the %d training images of %s: a batch holds some of them several "
            "times.",
            _BATCH_SIZE,
            batch_size,
            num_images,
            name,
        )


def _positive(cfg: DictConfig, key: str) -> float | None:
    value = OmegaConf.select(cfg, key)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise InputError(f"{key} must be a number > 0, got {value!r}.")
    return value
