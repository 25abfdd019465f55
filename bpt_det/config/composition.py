"""Config composition: a base, a method and further choices make one config.

A base is a LazyConfig with a dict `choices`. Each key is a condition as it is typed on the command
line, such as ``vit=vit_l`` or ``method=*_d pretraining=mae``; its value holds the settings that
apply where all of the condition holds, and later ones replace earlier ones. The first value that a
choice has there is its default. The values of ``method`` are the files of the folder ``methods``,
each with a dict `method`: the `settings` beside the ``vit``, the kind of token `statistics` that
its initial prompts need (None: none), and for tables its `label` and what it is `about`.
"""

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from detectron2.config import LazyConfig
from omegaconf import DictConfig, OmegaConf

from bpt_det.utils.errors import InputError

from .files import CHOICES, config_folder, find_bases, find_methods, read_choices, suggest_base
from .tree import find_vit_owner, has_key


def compose(cfg: DictConfig, path: str, overrides: Sequence[str]) -> list[str]:
    """Compose a base in place with what the overrides choose; return the other overrides.

    ``train.output_dir``, and ``train.prompt_statistics`` where the method needs statistics, become
    paths made of the names of the base and of what is chosen. Other configs stay as they are.

    Args:
        cfg: as loaded from ``path``.
        path: of the config file.
        overrides: ``key=value``.

    Raises:
        InputError: a choice has no such value, or is made for a config that is not a base.
    """
    if CHOICES not in cfg:
        _check_no_choice(cfg, path, overrides)
        return list(overrides)
    file = Path(path).resolve()
    folder = next((p for p in file.parents if (p / "methods").is_dir()), config_folder())
    table = _plain(cfg.pop(CHOICES))
    choices = read_choices(list(table), folder)
    chosen, others = _take_choices(choices, overrides, file.stem)
    _check_unknown_choices(cfg, choices, others)
    method = LazyConfig.load(str(find_methods(folder)[chosen["method"]])).method

    owner, _ = find_vit_owner(cfg)
    settings = _plain(method.settings)
    _set(cfg, {f"{owner}.{key}": value for key, value in settings.items()}, path)
    for condition, settings in table.items():
        terms = [term.split("=") for term in condition.split()]
        if all(fnmatchcase(chosen[key], pattern) for key, pattern in terms):
            _set(cfg, settings, path)

    group = file.parent.relative_to(folder) if file.is_relative_to(folder) else Path()
    variant = [v for key, v in chosen.items() if key != "method" and v != choices[key][0]]
    name = "_".join([file.stem, chosen["method"], *variant])
    cfg.train.output_dir = (Path("output") / group / name).as_posix()
    if method.statistics is not None:
        name = "_".join([file.stem, *variant, method.statistics])
        file_name = (Path("statistics") / group / name).as_posix()
        cfg.train.prompt_statistics = f"{file_name}.safetensors"
    return others


def _plain(node: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(node, resolve=False))


def _take_choices(
    choices: Mapping[str, list[str]], overrides: Sequence[str], base: str
) -> tuple[dict[str, str], list[str]]:
    """Part overrides into the value of every choice, and those that set a key of the config."""
    chosen = {key: values[0] for key, values in choices.items()}
    others = []
    for override in overrides:
        key, _, value = override.partition("=")
        plain = key.lstrip("+").strip()
        if plain in choices and key != plain:
            raise InputError(
                f"override '{override}': {plain} is a choice of {base}, not a key; write "
                f"{plain}={value.strip()}."
            )
        if key not in choices:
            others.append(override)
        elif value in choices[key]:
            chosen[key] = value
        else:
            nearest = difflib.get_close_matches(value, choices[key], n=1, cutoff=0.0)[0]
            raise InputError(
                f"{key}={value}: {base} has no {key} of that name; did you mean {nearest}? There "
                f"are {', '.join(choices[key])}."
            )
    return chosen, others


def _check_unknown_choices(
    cfg: DictConfig, choices: Mapping[str, list[str]], overrides: Sequence[str]
) -> None:
    """Refuse ``name=value`` where the name is neither a choice nor a key."""
    for override in overrides:
        key, equals, _ = override.partition("=")
        if equals and key.isidentifier() and key not in cfg:
            nearest = difflib.get_close_matches(key, [*choices, *cfg], n=1, cutoff=0.0)[0]
            raise InputError(
                f"override '{override}': the config has no choice or key '{key}'; did you mean "
                f"'{nearest}'? Its choices are {', '.join(choices)}."
            )


def _check_no_choice(cfg: DictConfig, path: str, overrides: Sequence[str]) -> None:
    """Refuse the choices that bases have, with a ``+`` too, for a config that is not a base."""
    name = path if path.endswith(".py") else cfg.train.output_dir.removeprefix("output/")
    for override in overrides:
        key, _, value = override.partition("=")
        key = key.lstrip("+").strip()
        if not key.isidentifier() or key in cfg:
            continue
        if any(key in choices for choices in find_bases().values()):
            raise InputError(
                f"{override}: '{path}' is not a base but has its {key} already; "
                f"{suggest_base(name, {key: value.strip()})}."
            )


def _set(cfg: DictConfig, settings: Mapping[str, Any], path: str) -> None:
    for key, value in settings.items():
        if not has_key(cfg, key):
            raise InputError(f"'{path}' sets {key}, which its config does not have.")
        # The arguments of one class are not those of another.
        is_built = isinstance(value, Mapping) and "_target_" in value
        OmegaConf.update(cfg, key, value, merge=not is_built)
