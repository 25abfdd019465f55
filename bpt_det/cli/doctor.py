"""Report versions, GPUs, datasets and weights of this machine, and what is missing.

Meant to be pasted into a bug report; works where packages are missing or cannot be imported. Of the
environment it shows a few named variables alone. The exit status is 1 where a package that bpt_det
needs cannot be imported.

    bpt-det doctor
    bpt-det doctor --json > doctor.json
"""

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bpt_det.installation.environment import (
    describe_gpus,
    describe_packages,
    describe_system,
    describe_variables,
)
from bpt_det.utils.errors import InputError
from bpt_det.utils.package import USE_HEADLESS, config_folder
from bpt_det.version import __version__

from .commands import build_plain_parser, invocation

EXIT_UNUSABLE = 1
# By folder below that of all datasets: the names of its splits, in the layout of COCO.
COCO_LAYOUTS = {"coco": ("train2017", "val2017"), "shapes": ("train", "val")}
_SOURCES = {
    "coco": "get it from https://cocodataset.org/#download",
    "shapes": "render it with python -m bpt_det.shapes --output datasets/shapes",
}
_WEIGHTS = re.compile(r'"(weights/[^"]+)"')
_GIB = 2**30
_WIDTH = 18  # of the first column


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_plain_parser("doctor", __doc__)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def examine() -> dict[str, Any]:
    """Return the report: plain values that JSON has; sizes in bytes, None for what is not known."""
    packages = describe_packages()
    folder = Path(os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()
    return {
        "bpt_det": __version__,
        **describe_system(Path.cwd()),
        "packages": packages,
        "gpus": describe_gpus(),
        "precision": _precision(),
        "variables": describe_variables(),
        "dataset_folder": str(folder),
        "datasets": {**_find_coco_layouts(folder), **_find_classification(folder)},
        "weights": _find_weights(),
        "problems": list(_problems(packages)),
    }


def _precision() -> str | None:
    """Return device and dtype that training chooses by itself; None where that is not known."""
    try:
        from bpt_det.engine.precision import resolve_device, resolve_precision
    except Exception:  # a problem of its own
        return None
    precision = resolve_precision("auto", resolve_device("auto"))
    return f"{precision.dtype_name} on {precision.device}"


def _find_coco_layouts(folder: Path) -> dict[str, dict[str, Any]]:
    """Return by dataset which splits have annotations and images."""
    return {
        name: {
            "found": [
                split
                for split in splits
                if (folder / name / f"annotations/instances_{split}.json").is_file()
                and (folder / name / split).is_dir()
            ],
            "source": _SOURCES[name],
        }
        for name, splits in COCO_LAYOUTS.items()
    }


def _find_classification(folder: Path) -> dict[str, dict[str, Any]]:
    """Return by classification dataset the folder or archive that holds it."""
    try:
        from bpt_det.classification.layouts.catalog import SPECS
        from bpt_det.data.archives import locate
    except Exception:  # NumPy or Pillow is missing
        return {}
    rows = {}
    for name, spec in SPECS.items():
        try:
            found = [locate(folder, spec.folder, spec.anchors, "").file_name("")]
        except InputError:
            found = []
        rows[name] = {"found": found, "source": spec.source}
    return rows


def _find_weights() -> dict[str, dict[str, Any]]:
    """Return by weight file that a config names its bytes, None where it is missing."""
    texts = (path.read_text() for path in sorted(config_folder().rglob("*.py")))
    files = sorted({name for text in texts for name in _WEIGHTS.findall(text)})
    try:
        from bpt_det.vit.weights.loading import source_of
    except Exception:  # torch or timm is missing
        source_of = None  # type: ignore[assignment]
    return {
        file: {
            "bytes": Path(file).stat().st_size if Path(file).is_file() else None,
            "source": None if source_of is None else source_of(file),
        }
        for file in files
    }


def _problems(packages: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Yield what keeps bpt_det from working, with the command that repairs it."""
    for name, package in packages.items():
        if package["error"] is None:
            continue
        if name == "opencv":
            command = USE_HEADLESS
        elif name == "detectron2":
            force = "" if package["version"] is None else " --force"
            command = invocation("setup-detectron2") + force
        else:
            command = f"pip install --force-reinstall {name}"
        what = "is not installed" if package["version"] is None else "cannot be imported"
        yield {"problem": f"{name} {what} ({package['error']})", "command": command}
    builds = packages["opencv"]["builds"]
    if len(builds) > 1 and packages["opencv"]["error"] is None:
        yield {
            "problem": f"{' and '.join(builds)} overwrite each other's files",
            "command": USE_HEADLESS,
        }


def format_report(report: Mapping[str, Any]) -> str:
    """Return a report as text; the user's home folder is written as ~."""
    lines = [
        f"{'bpt_det':{_WIDTH}}{report['bpt_det']}",
        f"{'python':{_WIDTH}}{report['python']}, {report['os']}",
    ]
    for name, package in report["packages"].items():
        lines.append(f"{name:{_WIDTH}}{_describe_package(package)}")
    memory, disk = _size(report["memory_available"]), _size(report["disk_free"])
    free = f"{memory} of memory available, {disk} free on this disk"
    lines.append(f"{'machine':{_WIDTH}}{report['cores']} cores, {free}")
    gpus = [f"{gpu['name']}, {_size(gpu['memory'])}" for gpu in report["gpus"]]
    lines.append(f"{'GPUs':{_WIDTH}}{'; '.join(gpus) or 'none is visible'}")
    lines.append(f"{'training':{_WIDTH}}{report['precision'] or 'not known, see below'}")
    lines += [f"{name}={value}" for name, value in report["variables"].items()]
    lines += ["", f"Datasets in {report['dataset_folder']}:"]
    for name, row in report["datasets"].items():
        lines.append(f"  {name:14}{', '.join(row['found']) or 'missing; ' + row['source']}")
    lines += ["", "Weights that configs name:"]
    for file, row in report["weights"].items():
        lines.append(f"  {file:36}{'missing' if row['bytes'] is None else _size(row['bytes'])}")
    missing = [row["source"] for row in report["weights"].values() if row["bytes"] is None]
    lines += [f"  {source}" for source in dict.fromkeys(missing) if source]
    lines += ["", "Problems:" if report["problems"] else "No problem found."]
    for row in report["problems"]:
        lines += [f"  {row['problem']}", f"    {row['command']}"]
    return "\n".join(lines).replace(str(Path.home()), "~")


def _describe_package(package: Mapping[str, Any]) -> str:
    words = [package["version"] or "not installed"]
    if package["error"] is not None:
        return f"{words[0]}, CANNOT BE IMPORTED" if package["version"] else words[0]
    if "builds" in package:
        words.append(" and ".join(package["builds"]))
    if "line" in package:
        operators = "with" if package["operators"] else "without"
        words.append(f"line {package['line']}, {operators} compiled operators")
    return ", ".join(words)


def _size(num_bytes: int | None) -> str:
    return "unknown" if num_bytes is None else f"{num_bytes / _GIB:.1f} GiB"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, print the report, and return the exit status."""
    args = build_parser().parse_args(argv)
    report = examine()
    print(json.dumps(report, indent=1, allow_nan=False) if args.json else format_report(report))
    broken = any(package["error"] is not None for package in report["packages"].values())
    return EXIT_UNUSABLE if broken else 0
