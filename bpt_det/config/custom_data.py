"""Custom data: helpers that fit a config to a dataset named on the command line.

Shared by the adapters of detection, classification and pre-training.
"""

from collections.abc import Iterable, Sequence

from omegaconf import DictConfig, OmegaConf

from bpt_det.utils.errors import InputError, shorten


def chosen_keys(overrides: Iterable[str]) -> set[str]:
    """Return the keys of overrides ``key=value``: what a user chose, not the config's own."""
    return {override.partition("=")[0].lstrip("+").strip() for override in overrides}


def set_num_classes(
    cfg: DictConfig, key: str, class_names: Sequence[str], source: str, chosen: set[str]
) -> None:
    """Take a model's number of classes from its data; in place.

    Args:
        cfg: the config.
        key: where it holds the number.
        class_names: of the data.
        source: what the data are called, for the error.
        chosen: see `chosen_keys`.

    Raises:
        InputError: a user chose another number.
    """
    configured = OmegaConf.select(cfg, key)
    if key in chosen and configured != len(class_names):
        raise InputError(
            f"{key}={configured} contradicts the {len(class_names)} classes of {source} "
            f"({shorten(class_names)}); leave {key} out."
        )
    OmegaConf.update(cfg, key, len(class_names))
