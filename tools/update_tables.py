"""Write the tables of methods and published results in README.md and docs/, from configs/.

Example: python tools/update_tables.py
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.config import LazyConfig, instantiate

from bpt_det.config.files import DEFAULT_METHOD, config_folder, find_methods
from bpt_det.config.loading import load_config
from bpt_det.config.tree import find_vit_owner
from bpt_det.vit import PromptedViT

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "reproduction" / "published.md")
DETECTORS = {"coco/mask_rcnn": "Mask R-CNN", "coco/cascade": "Cascade Mask R-CNN"}
DATASETS = {
    "fgvc/cub": "CUB",
    "fgvc/nabirds": "NABirds",
    "fgvc/flowers": "Flowers",
    "fgvc/dogs": "Dogs",
    "fgvc/cars": "Cars",
    "imagenet": "ImageNet",
}
PLACES = {
    "shallow": "shallow",
    "all": "every block",
    "last_4": "last 4 blocks",
    "released": "every block, basis trained in the last 4",
}
TABLES: dict[str, dict[str, Any]] = {
    "detection": {"columns": DETECTORS, "described": "coco/cascade"},
    "classification": {"columns": DATASETS},
    "methods": {
        "columns": {"coco/cascade": "COCO, box / mask AP", "fgvc/cub": "CUB, top-1"},
        "described": "coco/cascade",
        "published_only": True,
    },
}


def describe_prompts(base: str, method: str) -> list[str]:
    """Return size and place of a method's prompts, and how many of their parameters are trained."""
    owner = find_vit_owner(load_config(base, [f"method={method}"]))[1]
    if owner.prompt is None:
        return ["", "", "0"]
    length, rank = owner.prompt.prompt_length, owner.prompt.get("rank")
    owner.vit.checkpoint = None
    with torch.device("meta"):
        modules = instantiate(owner).modules()
    prompts = next(m for m in modules if isinstance(m, PromptedViT)).prompts
    count = sum(p.numel() for p in prompts.parameters() if p.requires_grad)
    size = f"P = {length}" if rank is None else f"P = {length}, R = {rank}"
    return [size, PLACES.get(owner.placement, str(owner.placement)), f"{count:,}"]


def make_table(
    columns: Mapping[str, str], *, described: str | None = None, published_only: bool = False
) -> str:
    """Return a table of methods without tuning, and of further choices with a published result.

    Args:
        columns: headings of the published results, by base.
        described: the base whose prompts are described in further columns; None: no description.
        published_only: leave out what the first column has no result of.
    """
    folder = config_folder()
    published = LazyConfig.load(str(folder / "published.py")).published
    files = {
        name: path
        for name, path in find_methods(folder).items()
        if "tuning" not in LazyConfig.load(str(path)).method.settings
    }
    choices = dict.fromkeys(choice for base in columns for choice in published[base])
    names = dict.fromkeys([DEFAULT_METHOD, *(c for c in choices if c in files), *files, *choices])
    if published_only:
        names = dict.fromkeys(name for name in names if name in published[next(iter(columns))])
    rows = [["method", "prompts", *columns.values()]]
    if described:
        rows[0][2:2] = ["size", "where", "trained prompt parameters"]
    for name in names:
        method = LazyConfig.load(str(files[name])).method if name in files else {}
        row = [f"`{name}`", method.get("about", "")]
        if described:
            row += describe_prompts(described, name) if method else [""] * 3
        rows.append(row + [published[base].get(name, "–") for base in columns])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def update(text: str) -> str:
    """Return a text with every table between its markers made anew."""
    for name, arguments in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if begin in text:
            table = f"{begin}\n{make_table(**arguments)}\n{end}"
            text = re.sub(f"{begin}.*?{end}", lambda _: table, text, flags=re.S)  # noqa: B023
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(update(page.read_text()))
