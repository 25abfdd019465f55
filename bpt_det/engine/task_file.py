"""Task file: what was trained for a task, and its card, in one safetensors file.

The file holds prompts, neck and heads, and no frozen ViT. The card is JSON in its metadata; a
Markdown copy lies beside it, for readers and as the page of a model hub. A task file is read
wherever a checkpoint is.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError
from bpt_det.vit.weights.files import check_safetensors, local_path

TASK_NAME, CARD_NAME = "task.safetensors", "README.md"
BACKBONE_ADVICE = "backbone_advice"  # key of what a checkpoint holds: which ViT it needs
_KEY = "bpt_det"  # of the metadata
_VERSION = 1
_NEEDED = {"version": int, "classes": list, "backbone": dict, "settings": dict, "config": str}


def write_task(folder: str | Path, state: Mapping[str, Tensor], card: Mapping[str, Any]) -> Path:
    """Write a task file and its readable card into a folder; return the path of the task file.

    Args:
        folder: made if need be.
        state: trained weights by name.
        card: plain data, see `describe_card`.

    Raises:
        InputError: one of the files exists or cannot be written.
    """
    paths = [Path(folder) / name for name in (TASK_NAME, CARD_NAME)]
    for path in paths:
        if path.exists():
            raise InputError(f"'{path}' exists; choose another folder, or delete it first.")
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    metadata = {"format": "pt", _KEY: json.dumps({"version": _VERSION, **card})}
    with atomic_write(paths[0]) as partial:
        partial.write_bytes(save(tensors, metadata))
    with atomic_write(paths[1]) as partial:
        partial.write_text(describe_card(card, paths[0].stat().st_size), encoding="utf-8")
    return paths[0]


def find_task(location: str | os.PathLike) -> str:
    """Return the task file that a path, ``bpt_det:NAME`` or a folder with one stands for."""
    path = Path(location).expanduser()
    return str(path / TASK_NAME) if path.is_dir() else str(location)


def read_card(location: str | Path) -> dict[str, Any]:
    """Return the card of a task file.

    Raises:
        InputError: the file is missing, damaged, or no task file.
    """
    card = _card_of(location)
    if card is None:
        raise InputError(
            f"'{location}' is no task file; give a {TASK_NAME} that an export has written, or its "
            "folder."
        )
    return card


def checkpoint_keys(location: str | Path) -> dict[str, Any] | None:
    """Return what a checkpoint holds beside its weights, of a task file; None for other files.

    Raises:
        InputError: the card is damaged.
    """
    card = _card_of(location)
    if card is None:
        return None
    names = card["classes"] or None
    backbone = card["backbone"]
    advice = f"give the weights of the ViT that its card names, '{backbone.get('checkpoint')}'."
    return {
        "frozen": backbone.get("fingerprints", {}),
        "class_names": names,
        "category_ids": card.get("category_ids"),
        "settings": card["settings"],
        BACKBONE_ADVICE: advice,
    }


def _card_of(location: str | Path) -> dict[str, Any] | None:
    path = local_path(str(location))
    if not path.is_file():
        return None
    try:
        check_safetensors(path)
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (OSError, SafetensorError):  # another kind of file, or a damaged one: its reader says so
        return None
    if text is None:
        return None
    try:
        card = json.loads(text)
        is_right = all(isinstance(card[key], kind) for key, kind in _NEEDED.items())
    except (ValueError, LookupError, TypeError, RecursionError):
        is_right = False
    if not is_right:
        raise InputError(f"'{location}' has a damaged card; export it again.")
    if card["version"] > _VERSION:
        raise InputError(
            f"'{location}' is a task file of version {card['version']}, but this bpt_det reads "
            f"those up to {_VERSION}; install a newer one."
        )
    return card


def describe_card(card: Mapping[str, Any], num_bytes: int) -> str:
    """Return a card as Markdown, with the front matter of Hugging Face's model cards.

    Args:
        card: ``task``, ``method``, ``classes``, ``parameters``, ``backbone``, ``metrics``,
            ``command`` and ``made_by``.
        num_bytes: of the task file.
    """
    backbone, method = card["backbone"], card["method"]
    sizes = ", ".join(f"{name} {value}" for name, value in backbone["sizes"].items())
    counts = ", ".join(f"{name} {count:,}" for name, count in card["parameters"].items())
    rows = {
        "task": card["task"],
        "method": ", ".join(f"{name} {value}" for name, value in method.items()),
        "trained parameters": f"{counts}; {num_bytes / 1e6:.2f} MB",
        "classes": f"{len(card['classes'])}: {', '.join(card['classes'])}",
        "backbone": f"`{backbone['checkpoint']}` ({sizes}), not in this file",
        "license of the backbone": backbone["license"],
        "fingerprint of the backbone": ", ".join(backbone["fingerprints"].values()) or "-",
        **{metric: f"{value:.4g}" for metric, value in card["metrics"].items()},
        "command": f"`{card['command']}`" if card["command"] else "-",
        "bpt_det": card["made_by"],
    }
    cells = {name: text.replace("|", "\\|").replace("\n", " ") for name, text in rows.items()}
    return "\n".join(
        [
            "---",
            "library_name: bpt_det",
            f"pipeline_tag: {_TAGS[card['task']]}",
            "---",
            "",
            f"# {card['task'].capitalize()} of {len(card['classes'])} classes",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {text} |" for name, text in cells.items()),
            "",
            "```python",
            f"from bpt_det import {_CLASSES[card['task']]}",
            "",
            f'model = {_CLASSES[card["task"]]}.from_task("FOLDER", vit="WEIGHTS OF THE BACKBONE")',
            "```",
            "",
        ]
    )


_TAGS = {"detection": "object-detection", "classification": "image-classification"}
_CLASSES = {"detection": "Predictor", "classification": "ImageClassifier"}
