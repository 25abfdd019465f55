"""Custom data of classification: number of classes, iterations and final evaluation of a config."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from omegaconf import DictConfig, OmegaConf

from bpt_det.config.custom_data import chosen_keys, set_num_classes
from bpt_det.config.epochs import set_iterations
from bpt_det.data.coco import absolute_path
from bpt_det.data.labeled_dataset import LabeledDataset
from bpt_det.data.splits import TRAINVAL
from bpt_det.utils.errors import InputError

from .layouts.catalog import prefix_of
from .layouts.reading import ClassificationData, load_split, read_dataset

_NUM_CLASSES = "model.num_classes"
_FINAL_TASK = {"test": "test", "val": "val_final"}  # by split; `val` is that of each epoch

logger = logging.getLogger(__name__)


def use_classification_data(
    cfg: DictConfig, overrides: Sequence[str] = ()
) -> dict[str, Callable[[], ClassificationData]]:
    """Fit a classification config to the dataset that ``data`` names; in place.

    Sets the number of classes; turns `train.epochs` and `train.eval_epochs` into iterations, but
    for those a user has given as iterations; makes paths absolute; and has the final evaluation
    read ``val`` where no ``test`` images are labeled. The ``config.yaml`` of a run stays as it is.

    Args:
        cfg: a config with `model.num_classes`, `dataloader` and `data`.
        overrides: ``key=value`` that have been applied to it; they tell what a user chose from
            what the config came with.

    Returns:
        By loader of the config, ``train``, ``test`` and ``final_test``: a function that returns
        its split of the dataset, which has been read once for all of them. Loaders of another
        dataset are left out.

    Raises:
        InputError: the dataset cannot be read, or a setting is out of range or contradicts it.
    """
    if isinstance(cfg.get("data"), str):  # data=NAME on the command line is short for data.name
        cfg.data = {"name": cfg.data}
    name = OmegaConf.select(cfg, "data.name")
    if not isinstance(name, str) or OmegaConf.select(cfg, _NUM_CLASSES) is None:
        raise InputError(
            f"data={cfg.get('data')} names no classification dataset, or the config has no "
            f"{_NUM_CLASSES}; use a classification config.",
            parameter="data",
            hint="train_detector",
        )
    chosen = chosen_keys(overrides)
    _make_paths_absolute(cfg)
    source = cfg.dataloader.train.dataset
    dataset = read_dataset(source.name, source.get("root"), source.get("fold"))
    set_num_classes(cfg, _NUM_CLASSES, dataset.class_names, dataset.name, chosen)
    num_images = len(dataset.select(source.split, source.get("fraction", 100)))
    set_iterations(cfg, dataset.name, num_images, chosen)
    _choose_final_split(cfg, dataset)
    _warn_of_seen_images(cfg)
    return {
        key: partial(load_split, dataset, split, fraction) for key, split, fraction in _splits(cfg)
    }


def _splits(cfg: DictConfig) -> list[tuple[str, str, float]]:
    """Return loader, split and fraction of each loader that reads the training dataset."""
    source = cfg.dataloader.train.dataset
    nodes = {
        key: cfg.dataloader[key].dataset
        for key in ("train", "test", "final_test")
        if cfg.dataloader.get(key)
    }
    return [
        (key, node.split, node.get("fraction", 100))
        for key, node in nodes.items()
        if all(node.get(part) == source.get(part) for part in ("_target_", "name", "root", "fold"))
    ]


def _make_paths_absolute(cfg: DictConfig) -> None:
    """Let a saved config work in any folder."""
    if prefix := prefix_of(cfg.data.name):
        path = cfg.data.name.removeprefix(prefix)
        cfg.data.name = prefix + absolute_path(path)
    if cfg.dataloader.get("root") is not None:
        cfg.dataloader.root = absolute_path(str(cfg.dataloader.root))


def _choose_final_split(cfg: DictConfig, dataset: LabeledDataset) -> None:
    """Evaluate the best weights on ``test`` at the end, or on ``val`` where there is no ``test``.

    The two tasks have different names in metrics and folders, so that none is taken for the other.
    """
    if not all(cfg.dataloader.get(key) for key in ("final_test", "final_evaluator")):
        return
    final, evaluator = cfg.dataloader.final_test.dataset, cfg.dataloader.final_evaluator
    old = "test" if final.split == "test" else "val"
    new = "test" if "test" in dataset.splits else "val"
    if old == new or final.split != old or evaluator.task != _FINAL_TASK[old]:
        return
    final.split, evaluator.task = new, _FINAL_TASK[new]
    folder = OmegaConf.to_container(evaluator, resolve=False).get("output_dir")
    if isinstance(folder, str) and folder.endswith(f"/{_FINAL_TASK[old]}"):
        evaluator.output_dir = folder.removesuffix(_FINAL_TASK[old]) + _FINAL_TASK[new]
    text = "The final evaluation reads the %s images of %s: %s/top1 are of the best weights"
    logger.info(text, new, dataset.name, evaluator.task)


def _warn_of_seen_images(cfg: DictConfig) -> None:
    trained, evaluated = (cfg.dataloader[key].dataset.get("split") for key in ("train", "test"))
    if trained == "test":
        raise InputError(
            "dataloader.train.dataset.split=test would train on the test images; set it to train, "
            "or to trainval."
        )
    if trained in (TRAINVAL, "val") and evaluated == "val":
        logger.warning(
            "dataloader.train.dataset.split=%s: the model is trained on the validation images too, "
            "so val metrics, and the choice of model_best.pth by them, mean nothing.",
            trained,
        )
    if evaluated == "test":
        logger.warning(
            "dataloader.test.dataset.split=test: model_best.pth is chosen on the test images, so "
            "its test metrics are too high."
        )
