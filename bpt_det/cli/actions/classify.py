"""Likeliest classes of images: what `bpt-det classify` does."""

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from bpt_det.classification.class_predictions import RANKED_SEPARATOR
from bpt_det.config import load_config
from bpt_det.inference.image_classifier import ClassScore, ImageClassifier
from bpt_det.inference.runs import default_checkpoint
from bpt_det.utils.atomic import atomic_write, write_rows
from bpt_det.utils.errors import InputError, printable
from bpt_det.utils.progress import progress_bar
from bpt_det.visualization.picture_files import prepare_output

from ..launch import check_range, run_tool
from ..logs import RESULT
from .inputs import (
    batches,
    check_any_was_read,
    each_input,
    find_sources,
    is_video,
    report_failures,
    split_settings,
)

CSV_NAME, JSON_NAME = "predictions.csv", "predictions.json"

logger = logging.getLogger(__name__)


def classify_all(args: argparse.Namespace) -> int:
    """Do what a parsed command line of `build_parser` asks for; returns the exit status."""
    check_range(args, "--top-k")
    check_range(args, "--batch-size")
    paths, settings = split_settings(args.input)
    sources = find_sources(paths, args.recursive)
    for source in filter(is_video, sources):
        raise InputError(f"--input '{source}' is a video; give images or folders of images.")
    if args.output is not None:
        prepare_output(Path(args.output), [CSV_NAME, JSON_NAME], option="--output")
    overrides = [*settings, *args.opts]
    cfg = load_config(args.config_file, overrides)
    checkpoint = args.checkpoint or default_checkpoint(cfg, args.config_file, overrides)
    classifier = ImageClassifier(cfg, checkpoint)
    failures: dict[str, InputError] = {}
    results: dict[str, list[ClassScore]] = {}

    def read(source: str) -> Iterator[tuple[str, dict]]:
        yield source, classifier.prepare(source)

    progress = progress_bar(iterable=sources, desc="classifying", unit=" images")
    inputs = each_input(progress, read, failures, len(sources))
    for batch in batches(inputs, args.batch_size):
        names, samples = zip(*batch, strict=True)
        scores = classifier.classify(samples, args.top_k)
        results.update(zip(names, scores, strict=True))
        if args.output is None:
            for source in names:
                print(f"{printable(source)}: {_describe(results[source])}")
    check_any_was_read(len(results), failures)
    if args.output is not None:
        _write(Path(args.output), results)
        logger.log(RESULT, "%d images classified, see %s", len(results), args.output)
    return report_failures(failures, len(sources))


def _describe(scores: Sequence[ClassScore]) -> str:
    return ", ".join(f"{score.name} {score.probability:.1%}" for score in scores)


def _write(folder: Path, results: dict[str, list[ClassScore]]) -> None:
    rows = [("image_id", "prediction", "confidence", "ranked")]
    for source, scores in results.items():
        ranked = RANKED_SEPARATOR.join(score.name for score in scores)
        rows.append((printable(source), scores[0].name, f"{scores[0].probability:.6f}", ranked))
    write_rows(folder / CSV_NAME, rows)
    images = [
        {"file_name": printable(source), "classes": [score._asdict() for score in scores]}
        for source, scores in results.items()
    ]
    with atomic_write(folder / JSON_NAME) as partial:
        partial.write_text(json.dumps(images, indent=1), encoding="utf-8")


def run(args: argparse.Namespace) -> int:
    """Classify, and return the exit status."""
    return run_tool(lambda: classify_all(args), args)
