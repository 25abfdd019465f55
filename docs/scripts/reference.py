"""Reference pages, generated from the code: API, command line, config keys."""

import importlib
import re
import sys
from argparse import SUPPRESS, Action, ArgumentParser, HelpFormatter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import config_keys

from bpt_det.cli.commands import COMMANDS, PROGRAM
from bpt_det.utils.errors import EXIT_BAD_INPUT, EXIT_CLOSED_PIPE, EXIT_STATUS
from bpt_det.vit import BACKBONES
from bpt_det.vit.timm_models import MODULES, REASONS

_DATA = ("images", "archives", "coco", "splits", "labeled_dataset", "rle", "validation")
_BENCHMARK = ("variant_table", "workloads", "evaluation_workloads", "measure", "tables")
_VISUALIZATION = (
    "annotations",
    "curves",
    "draw",
    "histograms",
    "picture_files",
    "samples",
    "sheet",
    "style",
    "video",
)
# Package, and modules of it with public names of their own that readers need.
API = {
    "bpt_det": [],
    "bpt_det.prompts": [],
    "bpt_det.vit": [f"bpt_det.vit.{name}" for name in ("tuning", "analysis", "distribution_fits")],
    "bpt_det.detection": ["bpt_det.detection.neck"],
    "bpt_det.classification": [],
    "bpt_det.pretraining": [],
    "bpt_det.inference": ["bpt_det.inference.predictions_file"],
    "bpt_det.data": [f"bpt_det.data.{name}" for name in _DATA],
    "bpt_det.visualization": [f"bpt_det.visualization.{name}" for name in _VISUALIZATION],
    "bpt_det.engine": ["bpt_det.engine.protocols", "bpt_det.engine.report"],
    "bpt_det.config": [],
    "bpt_det.comparison": [],
    "bpt_det.benchmark": [f"bpt_det.benchmark.{name}" for name in _BENCHMARK],
    "bpt_det.shapes": [],
    "bpt_det.utils": ["bpt_det.utils.errors"],
}
# Options, names with an underscore, settings and files, in text.
CODE = re.compile(
    r"(?<!\S)(--[\w-]+|[\w./]*\w_[\w./]*|[\w.]+=\S+?|\S+\.(?:json|pth|png|md|csv|py))"
    r"(?=[\s,.;:)]|$)"
)
MEANINGS = {
    0: "finished, or stopped early as configured",
    1: "any other failure; what a check did not pass; inputs of `predict` that could not be read",
    2: "bad input: one line on stderr",
    3: "a loss, a gradient or a weight became NaN or infinite",
    75: "preempted, or out of time; continue with `--resume`",
    130: "interrupted with Ctrl-C",
}


def generate_pages() -> dict[str, str]:
    """Return the Markdown of all generated pages, by their path in the site."""
    pages = {f"reference/api/{page_name(p)}.md": make_api_page(p) for p in API}
    return {
        **pages,
        "reference/cli.md": make_cli_page(),
        "reference/config.md": config_keys.make_page(),
        "reference/backbones.md": make_backbones_page(),
    }


def page_name(package: str) -> str:
    """Return the name of a package's page, such as ``prompts``."""
    return package.rpartition(".")[2]


def public_names(package: str) -> list[str]:
    """Return the full names of what a page documents."""
    return [f"{module}.{name}" for module in (package, *API[package]) for name in _names(module)]


def _names(module: str) -> list[str]:
    """Return the ``__all__`` of a module, or else the public names that it defines."""
    content = vars(importlib.import_module(module))
    own = [name for name, value in content.items() if getattr(value, "__module__", "") == module]
    return [name for name in content.get("__all__", own) if not name.startswith("_")]


def make_api_page(package: str) -> str:
    """Return a page with one entry per public name."""
    about = (importlib.import_module(package).__doc__ or "").strip()
    lines = [f"# `{package}`", "", about, ""]
    for name in public_names(package):
        lines += [f"::: {name}" if callable(_resolve(name)) else _describe_constant(name), ""]
    return "\n".join(lines)


def _resolve(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _describe_constant(name: str) -> str:
    """Return the entry of a name that is neither a class nor a function."""
    value, short = _resolve(name), name.rpartition(".")[2]
    parts = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    names = [getattr(part, "name", part) for part in parts]
    shown = ", ".join(f"`{part}`" for part in names)
    return (
        f"## {short} {{ #{name} .doc-heading }}\n\nConstant, a `{type(value).__name__}`: {shown}."
    )


def find_missing_names(site: Path) -> list[str]:
    """Return a line for each public name without a docstring or without an entry in the site."""
    problems = []
    for package in API:
        page = (site / f"reference/api/{page_name(package)}.html").read_text()
        for name in public_names(package):
            value = _resolve(name)
            if callable(value) and not (value.__doc__ or "").strip():
                problems.append(f"{name} has no docstring")
            if f'id="{name}"' not in page:
                problems.append(f"{name} is not in the reference")
    return problems


def make_backbones_page() -> str:
    """Return a page with the table of backbones, and what each family of timm's can do."""
    lines = [
        "# Backbones",
        "",
        "`vit=NAME` of a base of detection takes one of these, as `bpt-det train --config-file "
        "coco/cascade method=bpt_s vit=dinov3_b`. Patches of 14 pixels are resampled to 16. The "
        "table is `bpt_det.vit.BACKBONES`; tests compare it with timm.",
        "",
        "| name | timm | license of the weights | width | blocks | heads | patch | image | "
        "pixel mean | pixel deviation | final norm | quarters | tested here |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in BACKBONES.values():
        sizes = f"{row.embed_dim} | {row.num_blocks} | {row.num_heads} | {row.patch_size}"
        pixels = " | ".join(" ".join(map(str, v)) for v in (row.pixel_mean, row.pixel_std))
        tested = "published weights" if row.has_run else "architecture only"
        lines.append(
            f"| `{row.name}` | `{row.timm_name}` | {row.license} | {sizes} | {row.image_size} | "
            f"{pixels} | {'yes' if row.final_norm else 'no'} | {row.layers} | {tested} |"
        )
    lines += [
        "",
        "*Architecture only*: networks with random weights equal timm's own forward pass, and "
        "files in the layout of the publisher are read; no published weights have run here.",
        "",
        "Any other pre-trained network of timm's modules "
        + ", ".join(f"`{module}`" for module in MODULES)
        + " goes by `timm:NAME`, see [Pre-trained weights](../how_to/weights.md).",
        "",
        "## What is refused",
        "",
        "| module of timm | why |",
        "|---|---|",
        *(f"| `{module}` | {reason} |" for module, reason in REASONS.items()),
        "",
    ]
    return "\n".join(lines)


def make_cli_page() -> str:
    """Return a page with all commands, their arguments, and the exit statuses."""
    lines = [
        "# Command line",
        "",
        f"`{PROGRAM} --help` lists the commands. `{PROGRAM} COMMAND --help` shows the arguments of "
        "one. `python -m bpt_det.cli COMMAND` does the same, and so does a file of `tools/` in a "
        "checkout.",
        "",
        "`--config-file` takes a file, or the name of a config that comes with the package, such "
        "as `coco/cascade` with `method=bpt_s`. Settings follow as `key=value`; "
        "[Config keys](config.md) lists them.",
        "",
        "| command | what it does | file |",
        "| --- | --- | --- |",
    ]
    for c in COMMANDS.values():
        lines.append(f"| [`{c.name}`](#{c.name}) | {c.summary} | `tools/{c.tool}.py` |")
    lines += ["", *_exit_statuses()]
    argv, sys.argv = sys.argv, [PROGRAM]  # parsers name the program by how they were called
    try:
        for command in COMMANDS.values():
            parser = importlib.import_module(command.module).build_parser()
            lines += [f"## {command.name}", "", *describe_parser(parser)]
    finally:
        sys.argv = argv
    return "\n".join(lines)


def _exit_statuses() -> list[str]:
    by_status: dict[int, list[str]] = {}
    for name, status in EXIT_STATUS.items():
        if name != "running":
            by_status.setdefault(status, []).append(f"`{name}`")
    by_status.setdefault(EXIT_BAD_INPUT, ["`failed`"])
    lines = ["## Exit status", "", "| status | meaning | `status` in result.json |"]
    lines.append("| --- | --- | --- |")
    for status in sorted(by_status):
        lines.append(f"| {status} | {MEANINGS[status]} | {', '.join(by_status[status])} |")
    return [
        *lines,
        "",
        "A run writes `running` into result.json when it starts. A killed run keeps that status "
        "until it is resumed.",
        "",
        f"A command ends with {EXIT_CLOSED_PIPE} where nobody reads its output, as after `| head`.",
        "",
    ]


def describe_parser(parser: ArgumentParser) -> list[str]:
    """Return a command's description and its arguments as lines of Markdown."""
    lines = []
    for paragraph in (parser.description or "").strip().split("\n\n"):
        if paragraph.startswith("    "):
            commands = "\n".join(line.removeprefix("    ") for line in paragraph.split("\n"))
            lines += ["```console", commands, "```", ""]
        else:
            lines += [_example(paragraph), ""]
    lines += ["| argument | meaning |", "| --- | --- |"]
    formatter = HelpFormatter(parser.prog)
    for number, group in enumerate(parser._action_groups):
        actions = [a for a in group._group_actions if a.dest != "help" and a.help != SUPPRESS]
        if actions and number > 1:  # the first two are argparse's own
            lines.append(f"| **{group.title}** | |")
        lines += [_argument_row(action, formatter) for action in actions]
    return [*lines, ""]


def _argument_row(action: Action, formatter: HelpFormatter) -> str:
    """Return the row of an argument: its names with its value, and its help."""
    default = formatter._get_default_metavar_for_optional(action)
    value = formatter._format_args(action, default)
    if action.option_strings and action.nargs != 0:
        names = [f"{name} {value}" for name in action.option_strings]
    else:
        names = list(action.option_strings) or [value]
    shown = ", ".join(f"`{name}`" for name in names).replace("|", "&#124;")
    text = escape(formatter._expand_help(action)) if action.help else ""
    required = " Required." if action.required and action.option_strings else ""
    return f"| {shown} | {text}{required} |"


def _example(paragraph: str) -> str:
    """Return a paragraph as Markdown; an example that stands in it becomes code."""
    head, marker, command = paragraph.partition("Example: ")
    if not marker:
        return escape(paragraph)
    return f"{escape(head)}Example:\n\n```console\n{command}\n```"


def escape(text: str) -> str:
    """Return plain text as Markdown that shows it; what looks like code is set as code."""
    text = " ".join(text.split())
    parts = re.split(CODE, text)
    plain = [re.sub(r"([*_<>\[\]|])", r"\\\1", part).replace("``", "`") for part in parts[::2]]
    parts[::2] = plain
    parts[1::2] = [f"`{part}`" for part in parts[1::2]]
    return "".join(parts).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\|", "&#124;")
