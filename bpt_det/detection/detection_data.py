"""Custom data of detection: fits a config to the COCO-format datasets that its ``data`` names."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.config import LazyCall
from omegaconf import DictConfig, OmegaConf

from bpt_det.config.custom_data import chosen_keys, set_num_classes
from bpt_det.config.epochs import set_iterations
from bpt_det.data.archives import find_tree
from bpt_det.data.coco import split_source
from bpt_det.data.coco_dataset import read_coco
from bpt_det.data.formats import choose_parts, open_dataset, parse_source, source_exists
from bpt_det.data.formats.sources import both_sides
from bpt_det.utils.errors import InputError, shorten
from bpt_det.vit.weights.files import read_weights

from .datasets import find_metadata
from .levels import check_levels
from .split_files import WriteSplit

_LOADERS = {"train": "train", "val": "test"}  # key of `data`: key of `dataloader`
_NUM_CLASSES = "model.roi_heads.num_classes"
_TEST_CLASSES = "dataloader.test.dataset.class_names"
_REFERENCE = "train.reference_batch_size"
_WARMUP = "lr_multiplier.warmup_iters"
# What the iterations of an epoch depend on, and epochs themselves.
_LENGTHS = {
    "train.epochs",
    "train.eval_epochs",
    "train.accumulate_steps",
    "dataloader.train.total_batch_size",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Summary:
    """Facts of an annotation file that a config depends on; crowd regions have no say in masks."""

    class_names: list[str]  # in the order of their ids
    num_images: int  # with an object, as training takes them
    has_masks: bool
    has_rle: bool


def use_detection_data(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Fit a detection config to the datasets that its ``data`` names; in place.

    A source is ``FILE:FOLDER`` in COCO's format, or the path of a dataset in another format
    (`bpt_det.data.formats`). Without one to evaluate on, a split of the dataset's own is taken, or
    a fifth of the images is held out; the run writes down which.

    Sets the datasets' names (``FILE:FOLDER`` with absolute paths), json_file and image_root, the
    classes of the model, by whose names the categories to evaluate on are matched, and bitmask as
    mask format where masks are RLE. Where no object has a mask, the mask head is left out and boxes
    alone are evaluated. Does nothing if ``data`` is absent, names nothing, or names what the config
    already has, as in the ``config.yaml`` of a run.

    Args:
        cfg: a config with `model.roi_heads`, `dataloader` and `data`.
        overrides: ``key=value`` that have been applied to it; they tell what a user chose from
            what the config came with.

    Raises:
        InputError: a part is missing or cannot be read, two of the settings contradict, or the
            config is one of classification.
    """
    data = cfg.get("data") or {}
    if isinstance(data, str) or "name" in data:
        raise InputError(
            f"data.name={data if isinstance(data, str) else data['name']} is a classification "
            "dataset; a detection config has data.train and data.val.",
            hint="train_classifier",
        )
    check_levels(cfg)
    chosen = chosen_keys(overrides)
    sources = find_sources(data)
    if all(_is_set(cfg, split, source) for split, source in sources.items()):
        _set_schedule(cfg, None, chosen)
        return
    _check_one_way(sources, chosen)
    summaries = {
        split: _summarize(*source, f"data.{split}")
        for split, source in sources.items()
        if not _is_set(cfg, split, source) or source_exists(source[0])
    }
    names = _class_names(cfg, summaries)
    set_num_classes(cfg, _NUM_CLASSES, names, "the data", chosen)
    OmegaConf.update(cfg, _TEST_CLASSES, names, force_add=True)  # in the order of the model's
    for split, source in sources.items():
        _point_to(cfg, split, source, chosen)
    if "train" not in sources and not _settings_of("train", chosen):
        cfg.dataloader.train.dataset.names = None  # load_dataset says what to do about it
    _fit_masks(cfg, summaries)
    if "train" in summaries:
        _set_reference_batch(cfg, chosen)
        _write_split(cfg, sources)
    _set_schedule(cfg, summaries.get("train"), chosen)


def find_sources(data: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return annotation source and image folder of what ``train`` and ``val`` of ``data`` name.

    Raises:
        InputError: one names nothing that is there, or nothing that can be read.
    """
    given = {split: data[split] for split in _LOADERS if data.get(split) is not None}
    paths = {split: value for split, value in given.items() if _is_path(value)}
    for split, value in given.items():
        if split not in paths and ":" not in str(value):
            raise InputError(
                f"'data.{split}={value}' is neither a path that exists nor of the form "
                f"FILE:FOLDER; give a dataset, or the annotation file and the folder of its "
                f"images, as in data.{split}=/data/mine/train.json:/data/mine/images."
            )
    sources = {
        split: split_source(value, f"data.{split}=")
        for split, value in given.items()
        if split not in paths
    }
    if "train" in sources and "val" not in given:
        file, folder = sources["train"]
        sides = both_sides(parse_source(file))
        sources["train"], sources["val"] = ((str(side), folder) for side in sides)
    parts = choose_parts(paths.get("train"), paths.get("val"), needs_val="val" not in sources)
    found = {s: (str(part), open_dataset(part.path).image_root) for s, part in parts.items()}
    return {split: source for split in _LOADERS if (source := {**sources, **found}.get(split))}


def _is_path(value: object) -> bool:
    """Return whether a source is one path that exists, not FILE:FOLDER."""
    return isinstance(value, str) and bool(value.strip()) and source_exists(value)


def _set_reference_batch(cfg: DictConfig, chosen: set[str]) -> None:
    """Scale the config's learning rate to the batch, unless a user has set either of them."""
    own = OmegaConf.select(cfg, "data.reference_batch_size")
    is_set = OmegaConf.select(cfg, _REFERENCE) is not None
    if own is not None and not is_set and not chosen & {_REFERENCE, "optimizer.lr"}:
        OmegaConf.update(cfg, _REFERENCE, own, force_add=True)


def _write_split(cfg: DictConfig, sources: dict[str, tuple[str, str]]) -> None:
    """Let the run write down which images it holds out, if it does."""
    file, val = sources["train"][0], sources.get("val", ("",))[0]
    if parse_source(file).share:
        hook = LazyCall(WriteSplit)(train=file, val=val, folder="${train.output_dir}/split")
        OmegaConf.update(cfg, "train.hooks", [*(cfg.train.get("hooks") or []), hook])


def _set_schedule(cfg: DictConfig, train: _Summary | None, chosen: set[str]) -> None:
    """Convert the epochs of a run into iterations, where their data are known."""
    settings = cfg.get("train") or {}
    if settings.get("epochs") is None and settings.get("eval_epochs") is None:
        return
    if train is None and not chosen & _LENGTHS:  # a saved config has the iterations
        return
    dataset = cfg.dataloader.train.dataset
    if train is None:
        if dataset.get("names") is None:
            return
        json_file = dataset.get("json_file") or find_metadata(dataset.names).json_file
        if not source_exists(json_file):  # whoever trains on them says so
            return
        train = _summarize(json_file, None, "the training data")
    count = len(dataset.get("image_ids") or ()) or train.num_images
    if settings.get("epochs") is not None and settings.get("eval_epochs") is None:
        if "train.eval_period" not in chosen:
            OmegaConf.update(cfg, "train.eval_epochs", 1, force_add=True)
    set_iterations(cfg, str(dataset.names), count, chosen)
    warmup = OmegaConf.select(cfg, _WARMUP)
    if isinstance(warmup, int) and _WARMUP not in chosen:
        OmegaConf.update(cfg, _WARMUP, min(warmup, max(1, cfg.train.max_iter // 10)))


def _name(source: tuple[str, str]) -> str:
    """Return the name a dataset is registered under: no two have the same."""
    return ":".join(source)


def _is_set(cfg: DictConfig, split: str, source: tuple[str, str]) -> bool:
    dataset = cfg.dataloader[_LOADERS[split]].dataset
    configured = (dataset.get("names"), dataset.get("json_file"), dataset.get("image_root"))
    return configured == (_name(source), *source)


def _settings_of(split: str, chosen: set[str]) -> list[str]:
    """Return which of a user's settings say in the other way what a dataset is."""
    prefix = f"dataloader.{_LOADERS[split]}.dataset"
    keys = [prefix, *(f"{prefix}.{key}" for key in ("names", "json_file", "image_root"))]
    return [key for key in keys if key in chosen]


def _check_one_way(sources: dict[str, tuple[str, str]], chosen: set[str]) -> None:
    """Check that no dataset is named by ``data`` and in its loader too."""
    for split in sources:
        if other := _settings_of(split, chosen):
            raise InputError(f"data.{split} and {other[0]} are both given; leave one of them out.")


def _summarize(json_file: str, image_root: str | None, option: str) -> _Summary:
    """Read an annotation file for what a config takes from it."""
    for what, path, exists in (
        ("annotation file", json_file, source_exists),
        ("image folder", image_root, find_tree),
    ):
        if path is not None and not exists(path):
            raise InputError(f"{option}: {what} '{path}' does not exist; correct the path.")
    dataset = read_coco(json_file)
    objects = dataset.objects
    has_rle = any(isinstance(entry.get("segmentation"), dict) for entry in objects)
    has_masks = all("segmentation" in entry for entry in objects)
    num_images = sum(any(not a["iscrowd"] for a in g) for g in dataset.annotations.values())
    return _Summary(list(dataset.class_names.values()), num_images, has_masks, has_rle)


def _class_names(cfg: DictConfig, summaries: dict[str, _Summary]) -> list[str]:
    """Return the class names of the model: the training data's, else those it was trained with."""
    if "train" in summaries:
        names = summaries["train"].class_names
        if "val" in summaries:
            _check_known(summaries["val"].class_names, names)
        return names
    return _trained_class_names(cfg) or summaries["val"].class_names


def _trained_class_names(cfg: DictConfig) -> list[str] | None:
    """Return what the checkpoint that is evaluated calls its classes, or else the run's config."""
    checkpoint = OmegaConf.select(cfg, "train.init_checkpoint")
    stored = None
    if checkpoint and cfg.data.get("train") is None:
        try:
            content = read_weights(checkpoint)
        except InputError:  # whoever loads it says so
            content = None
        stored = content.get("class_names") if isinstance(content, dict) else None
    stored = stored or OmegaConf.select(cfg, _TEST_CLASSES)
    return None if stored is None else list(stored)


def _check_known(names: list[str], known: list[str]) -> None:
    """Check that a model can learn every class that it is evaluated on."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"data.val has categories that data.train lacks ({shorten(unknown)}; data.train has "
            f"{shorten(known)}); give both files the same list."
        )


def _point_to(cfg: DictConfig, split: str, source: tuple[str, str], chosen: set[str]) -> None:
    loader = _LOADERS[split]
    dataset = cfg.dataloader[loader].dataset
    if not _is_set(cfg, split, source) and f"dataloader.{loader}.dataset.image_ids" not in chosen:
        dataset.pop("image_ids", None)  # of the images of another dataset
    dataset.names = cfg.data[split] = _name(source)  # absolute: a saved config works anywhere
    dataset.json_file, dataset.image_root = source


def _fit_masks(cfg: DictConfig, summaries: dict[str, _Summary]) -> None:
    """Choose the mask format, or leave masks out where there are none."""
    mapper = cfg.dataloader.train.mapper
    train, val = summaries.get("train"), summaries.get("val")
    if train and train.has_rle:
        mapper.instance_mask_format = "bitmask"
    if train and not train.has_masks:
        logger.warning("data.train has no segmentations: boxes alone are trained and evaluated.")
        heads = cfg.model.roi_heads
        heads.mask_in_features = heads.mask_pooler = heads.mask_head = None
        mapper.use_instance_mask = mapper.recompute_boxes = False
        cfg.dataloader.evaluator.tasks = ["bbox"]
    elif val and not val.has_masks:
        logger.warning("data.val has no segmentations: boxes alone are evaluated.")
        cfg.dataloader.evaluator.tasks = ["bbox"]
