"""Default checkpoint: which one a config is used with where none is named."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from bpt_det.engine.checkpoint import LAST_CHECKPOINT, last_checkpoint
from bpt_det.vit.weights.files import SHIPPED_PREFIX, shipped_names

logger = logging.getLogger(__name__)


def default_checkpoint(cfg: DictConfig, config_file: str) -> str:
    """Return ``train.init_checkpoint``, else the last checkpoint of ``train.output_dir``.

    Where that folder holds no run, and the config is not a run's own, it is the checkpoint that
    comes with the package for it, if there is one: ``bpt_det:cascade_bpt_s_shapes.pth`` for
    ``shapes/cascade_bpt_s``. Which one is taken is logged.

    Args:
        cfg: the loaded config.
        config_file: what it was loaded from.

    Raises:
        InputError: there is none.
    """
    checkpoint = cfg.train.init_checkpoint
    if not checkpoint:
        folder = Path(cfg.train.output_dir)
        shipped = f"{folder.name}_{folder.parent.name}.pth"
        is_run = Path(config_file).suffix == ".yaml" or (folder / LAST_CHECKPOINT).is_file()
        if is_run or shipped not in shipped_names():
            checkpoint = last_checkpoint(str(folder))
        else:
            checkpoint = f"{SHIPPED_PREFIX}{shipped}"
    logger.info("No checkpoint was named: using '%s'", checkpoint)
    return checkpoint
