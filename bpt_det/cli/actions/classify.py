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
from .inputs import check_any_was_read, find_sources, is_video, report_failures, split_settings

CSV_NAME, JSON_NAME = "predictions.csv", "predictions.json"

logger = logging.getLogger(__name__)


def classify_all(args: argparse.Namespace) -> int:
    """Do what a parsed command line of `build_parser` asks for; returns the exit status."""
    check_range(args, "--top-k")
    check_range(args, "--batch-size")
    inputs, settings = split_settings(args.input)
    sources = find_sources(inputs, args.recursive)
    for source in filter(is_video, sources):
        raise InputError(f"--input '{source}' is a video; give images or folders of images.")
    if args.output is not None:
        prepare_output(Path(args.output), [CSV_NAME, JSON_NAME], option="--output")
    cfg = load_config(args.config_file, [*settings, *args.opts])
    checkpoint = args.checkpoint or default_checkpoint(cfg, args.config_file)
    classifier = ImageClassifier(cfg, checkpoint)
    failures: dict[str, InputError] = {}
    results: dict[str, list[ClassScore]] = {}
    for batch in _batches(sources, args.batch_size, classifier, failures):
        scores = classifier.classify(list(batch.values()), args.top_k)
        results.update(zip(batch, scores, strict=True))
        if args.output is None:
            for source in batch:
                print(f"{printable(source)}: {_describe(results[source])}")
    check_any_was_read(len(results), failures)
    if args.output is not None:
        _write(Path(args.output), results)
        logger.log(RESULT, "%d images classified, see %s", len(results), args.output)
    return report_failures(failures, len(sources))


def _batches(
    sources: Sequence[str],
    size: int,
    classifier: ImageClassifier,
    failures: dict[str, InputError],
) -> Iterator[dict[str, dict]]:
    """Yield samples by their source; a source that fails is logged and skipped."""
    batch = {}
    for source in progress_bar(iterable=sources, desc="classifying", unit=" images"):
        try:
            batch[source] = classifier.prepare(source)
        except InputError as error:
            failures[source] = error
            if len(sources) > 1:  # else it is the error that ends the run
                logger.warning("%s", error)
        if len(batch) == size:
            yield batch
            batch = {}
    if batch:
        yield batch


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
