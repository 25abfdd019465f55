"""Configs: loading a LazyConfig, composing and overriding it, with errors a user can act on."""

from collections.abc import Callable, Mapping, Sequence

from omegaconf import DictConfig

from bpt_det.utils.errors import InputError

from .checks import check_config, check_keys
from .composition import compose
from .files import find_config, read_config
from .overrides import apply_overrides, check_references
from .pretraining import use_pretraining

# Datasets that have been read already, by the loader that takes them: train, test, final_test.
Datasets = Mapping[str, Callable[[], Sequence[dict]]]
# Fits a loaded config in place to what a user has asked for, given the config and its overrides;
# may return the datasets that it has read for this.
Adapt = Callable[[DictConfig, Sequence[str]], Datasets | None]


def get_config(name: str, *overrides: str) -> DictConfig:
    """Return a config by its name and ``key=value`` overrides, such as ``"coco/cascade_bpt_s"``.

    As ``get_config`` of Detectron2's model zoo: ``get_config("coco/cascade", "method=bpt_d")``.
    See `load_config_and_data` for what may be given, and for the errors.
    """
    for override in overrides:
        if not isinstance(override, str):
            raise InputError(f"each override is a text key=value of its own, got {override!r}.")
    return load_config(name, overrides)


def load_config(
    path: str,
    overrides: Sequence[str] = (),
    adapt: Adapt | None = None,
    *,
    trust: Sequence[str] = (),
) -> DictConfig:
    """Return the config of `load_config_and_data` alone."""
    return load_config_and_data(path, overrides, adapt, trust=trust)[0]


def load_config_and_data(
    path: str,
    overrides: Sequence[str] = (),
    adapt: Adapt | None = None,
    *,
    trust: Sequence[str] = (),
) -> tuple[DictConfig, Datasets]:
    """Load a LazyConfig file, compose it with a method, and apply ``key=value`` overrides.

    Args:
        path: a ``.py`` config, the ``config.yaml`` that a run has written, or the name of a config
            that comes with bpt_det (`find_config`).
        overrides: ``method=NAME`` and the further choices of a base (`compose`) in any place;
            ``key=value`` changes a key that exists, ``+key=value`` adds one.
        adapt: called with the config and the overrides after these have been applied.
        trust: packages whose classes and functions a ``config.yaml`` may name, see
            `read_yaml_config`.

    Returns:
        The config, and the datasets that ``adapt`` has read.

    Raises:
        InputError: the file is missing, is not a config or lacks a required key, or an override is
            malformed or names no key or choice.
    """
    path = find_config(path)
    cfg = read_config(path, trust)
    check_keys(cfg, path)
    overrides = compose(cfg, path, overrides)
    apply_overrides(cfg, overrides)
    use_pretraining(cfg, overrides)
    if not isinstance(cfg.get("data"), str):  # data=NAME, which only adapt understands
        check_references(cfg)
    check_config(cfg)  # before data are read, which may take minutes
    datasets = None if adapt is None else adapt(cfg, overrides)
    check_config(cfg)
    return cfg, datasets or {}
