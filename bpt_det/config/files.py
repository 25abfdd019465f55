"""Config files: where a config is found by its name, and which bases and methods there are."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from detectron2.config import LazyConfig
from omegaconf import DictConfig

from bpt_det.utils.errors import InputError, one_line
from bpt_det.utils.package import config_folder

from .yaml_files import read_yaml_config

CHOICES = "choices"  # key of a base; see `bpt_det.config.composition`
DEFAULT_METHOD = "frozen"
_NO_BASES = ("common", "compare", "methods")


def find_config(name: str) -> str:
    """Return the path of a config: of a file, or else of one below `config_folder`.

    Args:
        name: a path, or a name such as ``fgvc/cub``.

    Raises:
        InputError: there is no such file; where its name holds a base and choices, they are named.
    """
    if not name:
        raise InputError(f"no config given; give a file, or one of {', '.join(find_bases())}.")
    path = locate_config(name)
    if path is not None:
        return path
    problem = "is no file" if Path(name).exists() else "does not exist"
    raise InputError(f"config file '{name}' {problem}; {suggest_base(name)}.")


def locate_config(name: str) -> str | None:
    """Return the path of a file, or else of one below `config_folder`; None if there is neither."""
    below = name.removeprefix("configs/")
    candidates = (Path(name), config_folder() / below, config_folder() / f"{below}.py")
    return next((str(path) for path in candidates if path.is_file()), None)


def read_config(path: str, trust: Sequence[str] = ()) -> DictConfig:
    """Return the content of a config file: a ``.py`` file is run, a ``.yaml`` file is only read.

    Args:
        path: of the file.
        trust: see `read_yaml_config`.

    Raises:
        InputError: the file cannot be loaded.
    """
    if path.endswith((".yaml", ".yml")):
        return read_yaml_config(path, trust)
    try:
        return LazyConfig.load(path)
    except SyntaxError as error:
        raise InputError(f"config file '{path}' is not valid Python: {error.__cause__}.") from error
    except (ValueError, ImportError, OSError) as error:
        raise InputError(f"config file '{path}' cannot be loaded: {one_line(error)}") from error


def find_methods(folder: Path) -> dict[str, Path]:
    """Return the method files of a folder of configs by name, that without prompts first."""
    files = {path.stem: path for path in (folder / "methods").glob("*.py")}
    return {name: files[name] for name in sorted(files, key=lambda n: (n != DEFAULT_METHOD, n))}


def find_bases() -> dict[str, dict[str, list[str]]]:
    """Return the bases below `config_folder` by name, each with the values of its choices."""
    folder, bases = config_folder(), {}
    for path in sorted(folder.rglob("*.py")):
        below = path.relative_to(folder).with_suffix("")
        if below.parts[0] not in _NO_BASES and CHOICES in path.read_text():
            table = LazyConfig.load(str(path)).get(CHOICES)
            if table is not None:
                bases[below.as_posix()] = read_choices(list(table), folder)
    return bases


def read_choices(conditions: list[str], folder: Path) -> dict[str, list[str]]:
    """Return the values of every choice of a base, the default first.

    Args:
        conditions: the keys of its ``choices``.
        folder: of configs, which has the methods.
    """
    choices = {"method": list(find_methods(folder))}
    for term in " ".join(conditions).split():
        key, value = term.split("=")
        if key != "method" and value not in choices.setdefault(key, []):
            choices[key].append(value)
    return choices


def suggest_base(name: str, asked: Mapping[str, str] | None = None) -> str:
    """Say how to compose a config by the parts of its name, such as ``fgvc/cub_bpt_s_moco``.

    Args:
        name: of a file that does not exist, or is not a base.
        asked: choices that replace those of the name, where the base has them.
    """
    path = Path(os.path.normpath(name).removeprefix("configs/").removesuffix(".py"))
    if path.is_relative_to(config_folder()):
        path = path.relative_to(config_folder())
    bases = find_bases()
    prefixes = {base.replace("/", "_") + "_": base for base in bases}
    words = path.as_posix().replace("/", "_") + "_"
    of_name = [prefix for prefix in prefixes if words.startswith(prefix)]
    if not of_name:
        return f"a config is a base with method=NAME, and the bases are {', '.join(bases)}"
    prefix = max(of_name, key=len)
    base = prefixes[prefix]
    chosen, rest = _parse_choices(words.removeprefix(prefix), bases[base])
    asked = {key: value for key, value in (asked or {}).items() if key in bases[base]}
    chosen.update(asked)
    if not asked and (rest or not chosen):
        return (
            f"write configs/{base}.py with method=NAME, one of {', '.join(bases[base]['method'])}"
        )
    return " ".join([f"write configs/{base}.py", *(f"{key}={v}" for key, v in chosen.items())])


def _parse_choices(words: str, choices: dict[str, list[str]]) -> tuple[dict[str, str], str]:
    """Return the choices whose values follow each other in a name, and the rest of the name.

    Args:
        words: such as ``bpt_s_moco_``; its last value may be shortened.
        choices: of a base, with all values.
    """
    chosen = {}
    values = [(key, value) for key, values in choices.items() for value in values]
    while words:
        matches = [pair for pair in values if words.startswith(f"{pair[1]}_")]
        matches = matches or [pair for pair in values if pair[1].startswith(words[:-1])]
        if not matches:
            break
        key, value = max(matches, key=lambda pair: len(pair[1]))
        chosen[key] = value
        words = words[len(value) + 1 :]
    return chosen, words
