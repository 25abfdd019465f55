"""Faults of a dataset: what `bpt-det check` does."""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.classification.layouts.catalog import SPECS, prefix_of
from bpt_det.classification.layouts.reading import read_dataset
from bpt_det.data.archives import find_tree
from bpt_det.data.coco import split_source
from bpt_det.data.formats import open_dataset, parse_source, read_annotations
from bpt_det.data.validation import (
    Findings,
    Limits,
    check_content,
    check_images,
    check_labeled,
    check_leakage,
    describe,
    format_description,
    format_report,
    report_as_dict,
)
from bpt_det.utils.errors import InputError, printable
from bpt_det.visualization.dataset_pictures import draw_annotated

from ..launch import check_range, run_tool

EXIT_FOUND = 1


def check(args: argparse.Namespace) -> int:
    """Do what a parsed command line of `build_parser` asks for, and return the exit status."""
    check_range(args, "--min-mask-area", least=0)
    check_range(args, "--min-box-iou", least=0, most=1)
    check_range(args, "--examples", least=0)
    check_range(args, "--num-workers")
    if args.json is not None:
        _check_is_new(args.json)
    if _is_classification(args.annotations):
        return _check_classification(args)
    if args.root is not None:
        raise InputError(
            f"--root is for classification datasets, but '{args.annotations}' is not one; there "
            f"are {', '.join(SPECS)}, folder:PATH and shards:PATH."
        )
    sources = find_sources(args.annotations, args.images)
    seen: dict[bytes, str] = {}  # images of the splits before, by their content
    checked = {
        split: _check_source(args, *source, split, seen if len(sources) > 1 else None)
        for split, source in sources.items()
    }
    every = [findings for _, findings in checked.values()]
    if args.draw is not None and any(findings.total("error") for findings in every):
        print("no annotations drawn, as there are errors")
    elif args.draw is not None:
        for sheet in draw_annotated(sources, args.draw, "--draw"):
            print(printable(f"annotations drawn, see {sheet}"))
    reports = {split: report for split, (report, _) in checked.items()}
    report = reports[""] if "" in reports else {"splits": reports}
    return _finish(args, every, report)


def _check_source(
    args: argparse.Namespace,
    json_file: str,
    image_root: str | None,
    split: str,
    seen: dict[bytes, str] | None,
) -> tuple[dict, Findings]:
    """Check one annotation file, print what was found and what it holds, and return both."""
    if args.skip_images:
        image_root = None
    elif image_root is None:
        raise InputError(
            f"no image folder given for '{json_file}'; give it as second argument, or leave the "
            "images out with --skip-images."
        )
    elif find_tree(image_root) is None:
        what = "is no folder" if os.path.exists(image_root) else "does not exist"
        raise InputError(f"image folder '{image_root}' {what}; correct the path.")
    content = read_annotations(json_file)
    limits = Limits(args.min_mask_area, args.min_box_iou)
    entries, findings = check_content(content, limits)
    if image_root is not None:
        check_images(entries, image_root, findings, args.num_workers)
        if seen is not None:
            check_leakage(entries, image_root, split, seen, findings)
    facts = describe(entries)
    if facts["objects"]:
        print(printable(f"{format_description(facts)}\n"))
    num_examples = 3 if args.examples is None else args.examples
    print(printable(f"{json_file}: {format_report(findings, num_examples)}"))
    source = {"annotations": json_file, "images": image_root}
    return {**source, **report_as_dict(findings), "description": facts}, findings


def _is_classification(name: str) -> bool:
    """Say whether the first argument names a classification dataset and not an existing file."""
    if prefix := prefix_of(name):
        return not os.path.isfile(prefix.rstrip(":"))
    return name in SPECS and not os.path.isfile(name)


def _check_classification(args: argparse.Namespace) -> int:
    name = args.annotations
    if args.draw is not None:
        raise InputError(
            f"--draw draws boxes and masks, but '{name}' is a classification dataset; leave it out."
        )
    if args.images is not None:
        raise InputError(
            f"'{args.images}' is one argument too many; the folder that holds {name} is given "
            "with --root."
        )
    if args.root is not None and prefix_of(name):
        raise InputError(f"--root {args.root} and '{name}' both name a folder; leave --root out.")
    dataset = read_dataset(name, args.root)
    findings = check_labeled(dataset, skip_images=args.skip_images, num_workers=args.num_workers)
    print(printable(format_report(findings, args.examples)))
    source = {"data": name, "root": dataset.tree.file_name("")}
    return _finish(args, [findings], {**source, **report_as_dict(findings)})


def _finish(args: argparse.Namespace, every: Sequence[Findings], report: dict) -> int:
    """Write the report that was asked for, and return the exit status."""
    severities = ("error", "warning") if args.strict else ("error",)
    num_bad = sum(findings.total(severity) for findings in every for severity in severities)
    status = EXIT_FOUND if num_bad else 0
    if args.json is not None:
        _write(args.json, {**report, "exit_status": status})
    return status


def find_sources(annotations: str, images: str | None) -> dict[str, tuple[str, str | None]]:
    """Return annotation file and image folder, None if it is not known, by split.

    Of a dataset without splits of its own, the only key is "".

    Raises:
        InputError: what was given is neither a path, FILE:FOLDER, nor a registered name.
    """
    if images is not None:
        return {"": (annotations, images)}
    source = parse_source(annotations)
    if source.exists:
        dataset = open_dataset(source.path)
        splits = dataset.splits if source.split is None else (source.split,)
        try:
            root = dataset.image_root
        except InputError:  # of a file alone, whose images need not be looked at
            root = None
        parts = {split: replace(source, split=split) for split in splits} or {"": source}
        return {split: (str(part), root) for split, part in parts.items()}
    return {"": _find_source(annotations)}


def _find_source(annotations: str) -> tuple[str, str | None]:
    if annotations in DatasetCatalog.list():
        metadata = MetadataCatalog.get(annotations)
        if metadata.get("json_file") is None:
            raise InputError(
                f"dataset '{annotations}' has no COCO-format annotation file; choose another."
            )
        return metadata.json_file, metadata.image_root
    if ":" in annotations:
        return split_source(annotations, "")
    raise InputError(
        f"'{annotations}' is neither a path that exists, nor FILE:FOLDER, nor a registered "
        "dataset such as coco_2017_val; correct it."
    )


def _check_is_new(path: Path) -> None:
    if path.exists():
        raise InputError(f"--json '{path}' exists already; choose another file.")
    if not path.parent.is_dir():
        raise InputError(f"--json '{path}': folder '{path.parent}' does not exist; make it first.")


def _write(path: Path, report: dict) -> None:
    try:
        with path.open("x") as file:  # never over another file
            json.dump(_printable(report), file, indent=1)
            file.write("\n")
    except OSError as error:
        raise InputError(f"cannot write '{path}': {error.strerror or error}.") from error


def _printable(value: Any) -> Any:
    """Return what JSON can hold with every text in it as valid text."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_printable(key): _printable(member) for key, member in value.items()}
    return [_printable(member) for member in value] if isinstance(value, list) else value


def run(args: argparse.Namespace) -> int:
    """Check the dataset, and return the exit status."""
    return run_tool(lambda: check(args), args)
