"""Reference of config keys: defaults and comments of configs, docstrings of what they call."""

import ast
import importlib
import inspect
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bpt_det.config.files import config_folder
from bpt_det.config.loading import load_config
from bpt_det.config.tree import find_vit_owner

BASES = {
    "Detection": ("coco/cascade", "method=bpt_s"),
    "Classification": ("fgvc/cub", "method=bpt_s"),
    "Pre-training": ("shapes/mae_micro",),
}
SHARED = ("train", "optimizer", "lr_multiplier")  # one table for all tasks
ABOUT = {
    "train": "Settings of the run, read by the training loop.",
    "optimizer": "AdamW, and the groups of parameters that it works on.",
    "lr_multiplier": "Schedule of the learning rate.",
    "data": "The data, in short. What it says is put into `dataloader`.",
    "dataloader": "Datasets, samples and batches.",
    "backbone": "The frozen ViT, its prompts, and where they go.",
}
# Keys that neither a comment nor a docstring explains: arguments of other packages.
EXTERNAL = {
    "optimizer.lr": "learning rate, before `train.reference_batch_size` scales it",
    "optimizer.betas": "decay rates of AdamW's two averages",
    "optimizer.weight_decay": "weight decay, decoupled from the rate's schedule",
    "optimizer.fused": "one kernel for all parameters, the same step",
}


def make_page() -> str:
    """Return the page of all config keys."""
    configs = {task: load_config(base, choices) for task, (base, *choices) in BASES.items()}
    comments = read_comments(config_folder())
    names = ", ".join(f"{t.lower()} `{' '.join(base)}`" for t, base in BASES.items())
    lines = [
        "# Config keys",
        "",
        f"Defaults are those of {names}. Other bases and methods set some of them differently. "
        "Any key is changed on the command line as `key=value`. A key that does not exist is "
        "refused; `+key=value` adds one. `null` stands for None, `${…}` takes another key's value.",
        "",
    ]
    for section in SHARED:
        lines += [f"## {section}", "", ABOUT[section], ""]
        lines += make_table({t: _leaves(c, section) for t, c in configs.items()}, configs, comments)
    for task, cfg in configs.items():
        for section in ("data", "dataloader"):
            if section in cfg:
                lines += [f"## {section}: {task.lower()}", "", ABOUT[section], ""]
                lines += make_table({task: _leaves(cfg, section)}, configs, comments)
        if task != "Pre-training":
            owner, _ = find_vit_owner(cfg)
            lines += [f"## {owner}: {task.lower()}", "", ABOUT["backbone"], ""]
            lines += make_table({task: _leaves(cfg, owner)}, configs, comments)
    return "\n".join(lines)


def _leaves(cfg: DictConfig, section: str) -> dict[str, Any]:
    """Return the settings below a section by dotted key, interpolations as they are written."""

    def walk(node: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, dict) and node:
            for name, child in node.items():
                if name != "_target_":
                    yield from walk(child, f"{key}.{name}")
        else:
            yield key, node

    node = OmegaConf.select(cfg, section)
    return dict(walk(OmegaConf.to_container(node, resolve=False), section))


def make_table(
    values: dict[str, dict[str, Any]], configs: dict[str, DictConfig], comments: dict[str, str]
) -> list[str]:
    """Return a table of keys, defaults and meanings; defaults that differ are told by task."""
    lines = ['<div class="keys" markdown="1">', "", "| key | default | meaning |"]
    lines.append("| --- | --- | --- |")
    for key in dict.fromkeys(key for leaves in values.values() for key in leaves):
        shown = {task: _show(leaves[key]) for task, leaves in values.items() if key in leaves}
        if len(values) > 1 and (len(set(shown.values())) > 1 or len(shown) < len(values)):
            groups: dict[str, list[str]] = {}
            for task, value in shown.items():
                groups.setdefault(value, []).append(task.lower())
            default = "<br>".join(f"{v} ({', '.join(tasks)})" for v, tasks in groups.items())
        else:
            default = next(iter(shown.values()))
        meaning = comments.get(key) or EXTERNAL.get(key)
        for task in shown:
            meaning = meaning or _from_docstring(configs[task], key)
        if not meaning:
            raise SystemExit(f"error: nothing says what the config key {key} means")
        lines.append(f"| `{key}` | {default} | {meaning} |")
    return [*lines, "", "</div>", ""]


def _show(value: Any) -> str:
    if value == {}:
        return "`{}`"
    if isinstance(value, list):
        value = [_called(v) if isinstance(v, dict) else v for v in value]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = "null" if value is None else "''" if value == "" else text
    return f"`{text}`"


def _called(node: dict[str, Any]) -> str:
    target = node["_target_"]
    return getattr(target, "__name__", str(target).rpartition(".")[2]) + "(…)"


def _from_docstring(cfg: DictConfig, key: str) -> str | None:
    """Return what the docstring of the nearest callable above a key says about it."""
    parts = key.split(".")
    for length in range(len(parts) - 1, 0, -1):
        node = OmegaConf.select(cfg, ".".join(parts[:length]))
        target = OmegaConf.to_container(node, resolve=False).get("_target_")
        if target:
            found = _argument(_locate(target), parts[length])
            rest = ".".join(parts[length + 1 :])
            return found and (f"`{rest}` of: {found}" if rest else found)
    return None


def _locate(target: Any) -> Any:
    if not isinstance(target, str):
        return target
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:  # a class method
        return getattr(_locate(module), name)


def _argument(called: Any, name: str) -> str | None:
    """Return the description of an argument in the docstring of a class or function."""
    text = inspect.getdoc(called) or ""
    if inspect.isclass(called):
        text += "\n" + (inspect.getdoc(called.__init__) or "")
    # Arguments may share a description, and it may refer to another class.
    pattern = rf"^( +)(?:\w+, )*{re.escape(name)}(?:, \w+)*: *(.+(?:\n\1 +.+)*)"
    match = re.search(pattern, text, re.MULTILINE)
    if not match:
        return None
    other = re.fullmatch(r"see `(\w+)`", _clean(match[2]))
    if other:
        return _argument(getattr(inspect.getmodule(called), other[1]), name)
    return _clean(match[2])


def _clean(text: str) -> str:
    return " ".join(text.replace("``", "`").split()).replace("|", "&#124;").rstrip(".")


def read_comments(folder: Path) -> dict[str, str]:
    """Return the comments of settings in all config files, by dotted key.

    A comment belongs to the settings of its line, or to that of the line below it.
    """
    comments: dict[str, str] = {}
    updates: dict[str, str] = {}  # SECTION.update(...): what the section itself says comes first
    for file in sorted(folder.rglob("common/**/*.py")):
        by_line = _comments_by_line(file)
        for statement in ast.parse(file.read_text()).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
                target, found = ast.unparse(statement.targets[0]), comments
            elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                target, found = ast.unparse(statement.value.func).removesuffix(".update"), updates
            else:
                continue
            for key, line, end in _keywords(statement.value, target):
                text = by_line.get(line) or by_line.get(end) or _above(by_line, line)
                if text:
                    found.setdefault(key, text)
    return {**updates, **comments}


def _keywords(call: ast.Call, key: str) -> Iterator[tuple[str, int, int]]:
    """Yield dotted key, first line and last line of every keyword argument, nested ones too."""
    for keyword in call.keywords:
        if keyword.arg is not None:
            path = f"{key}.{keyword.arg}"
            yield path, keyword.lineno, keyword.value.end_lineno or keyword.lineno
            if isinstance(keyword.value, ast.Call):
                yield from _keywords(keyword.value, path)


def _comments_by_line(file: Path) -> dict[int, str]:
    """Return comments by line; of those alone on their line, the negative of the last line."""
    comments: dict[int, str] = {}
    above: list[str] = []
    with file.open("rb") as stream:
        for token in tokenize.tokenize(stream.readline):
            if token.type == tokenize.COMMENT:
                text = _clean(token.string.lstrip("# "))
                alone = not token.line[: token.start[1]].strip()
                above = [*above, text] if alone and -(token.start[0] - 1) in comments else [text]
                comments[-token.start[0] if alone else token.start[0]] = " ".join(above)
    return comments


def _above(comments: dict[int, str], line: int) -> str | None:
    return comments.get(-(line - 1))
