"""Config files: where a config is found by its name, and which bases and methods there are."""

from pathlib import Path

from detectron2.config import LazyConfig

from bpt_det.utils.errors import InputError

CHOICES = "choices"  # key of a base; see `bpt_det.engine.composition`
DEFAULT_METHOD = "frozen"
_NO_BASES = ("common", "compare", "methods")


def config_folder() -> Path:
    """Return the folder of the configs that come with bpt_det: a checkout's, or the package's."""
    package = Path(__file__).parents[1]
    checkout = package.parent / "configs"
    return checkout if (checkout / "methods").is_dir() else package / "configs"


def find_config(name: str) -> str:
    """Return the path of a config: of a file, or else of one below `config_folder`.

    Args:
        name: a path, or a name such as ``fgvc/cub``.

    Raises:
        InputError: there is no such file; where its name holds a base and choices, they are named.
    """
    if not name:
        raise InputError(f"no config given; give a file, or one of {', '.join(find_bases())}.")
    below = name.removeprefix("configs/")
    for path in (Path(name), config_folder() / below, config_folder() / f"{below}.py"):
        if path.is_file():
            return str(path)
    problem = "is no file" if Path(name).exists() else "does not exist"
    raise InputError(f"config file '{name}' {problem}; {suggest_base(name)}.")


def find_methods(folder: Path) -> dict[str, Path]:
    """Return the method files of a folder of configs by name, that without prompts first."""
    files = {path.stem: path for path in (folder / "methods").glob("*.py")}
    return {name: files[name] for name in sorted(files, key=lambda n: (n != DEFAULT_METHOD, n))}


def find_bases() -> dict[str, dict[str, list[str]]]:
    """Return the bases below `config_folder` by name, each with the values of its choices."""
    folder, found = config_folder(), {}
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if not name.startswith(_NO_BASES) and CHOICES in path.read_text():
            found[name] = read_choices(list(LazyConfig.load(str(path))[CHOICES]), folder)
    return found


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


def suggest_base(name: str, method: str | None = None) -> str:
    """Say how to compose a config by the parts of its name, such as ``fgvc/cub_bpt_s_moco``.

    Args:
        name: of a file that does not exist, or is no base.
        method: the one that is asked for; None takes that of the name.
    """
    path = Path(name.removeprefix("configs/")).with_suffix("")
    if path.is_relative_to(config_folder()):
        path = path.relative_to(config_folder())
    rest, bases = path.as_posix().replace("/", "_") + "_", find_bases()
    prefixes = {base: base.replace("/", "_") + "_" for base in bases}
    of_name = [base for base in bases if rest.startswith(prefixes[base])]
    if not of_name:
        return f"a config is a base with method=NAME, and the bases are {', '.join(bases)}"
    base = max(of_name, key=len)
    rest = rest.removeprefix(prefixes[base])
    chosen: dict[str, str] = {}
    values = [(key, value) for key, values in bases[base].items() for value in values]
    while rest:
        matches = [(key, value) for key, value in values if rest.startswith(f"{value}_")]
        matches = matches or [(key, value) for key, value in values if value.startswith(rest[:-1])]
        if not matches:
            break
        key, value = max(matches, key=lambda match: len(match[1]))
        chosen[key] = value
        rest = rest[len(value) + 1 :]
    if method is not None:
        chosen["method"] = method
    elif rest or not chosen:
        return (
            f"write configs/{base}.py with method=NAME, one of {', '.join(bases[base]['method'])}"
        )
    choices = " ".join(f"{key}={value}" for key, value in chosen.items())
    return f"write configs/{base}.py {choices}"
