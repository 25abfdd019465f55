"""Detections in images, folders and videos: what `bpt-det predict` does."""

import argparse
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from detectron2.structures import Instances
from tqdm import tqdm

from bpt_det import Predictor
from bpt_det.config import load_config
from bpt_det.data.images import read_rgb
from bpt_det.detection import use_detection_data
from bpt_det.inference.defaults import DEFAULT_OVERLAP, LEAST_TILE, MAX_OVERLAP
from bpt_det.inference.predictions_file import CocoFile
from bpt_det.inference.runs import default_checkpoint
from bpt_det.utils.errors import InputError
from bpt_det.utils.progress import progress_bar
from bpt_det.visualization.captures import source_name
from bpt_det.visualization.picture_files import picture_names, prepare_output, save_picture
from bpt_det.visualization.video import VideoReader, VideoWriter

from ..launch import check_range, run_tool
from ..logs import RESULT
from ..predict import JSON_NAME
from .drawing import drawing_style
from .inputs import (
    batches,
    check_any_was_read,
    each_input,
    find_sources,
    is_video,
    report_failures,
    split_settings,
)

logger = logging.getLogger(__name__)


@dataclass
class Frame:
    """An image or video frame: its source, pixels and record for the JSON file."""

    source: str
    record: dict
    pixels: np.ndarray  # RGB (H, W, 3), uint8
    fps: float | None = None  # of a video
    sample: dict = field(default_factory=dict)  # that the detector takes
    instances: Instances | None = None  # predictions, in tiles


class Pictures:
    """Writer of annotated pictures and videos, by the name of each source.

    Frames of a video arrive consecutively, so one video is open at a time.
    """

    def __init__(self, folder: Path, names: dict[str, str]) -> None:
        self.folder = folder
        self.names = names
        self._video: VideoWriter | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)

    def write(self, frame: Frame, picture: np.ndarray) -> None:
        """Add the picture of a frame."""
        path = self.folder / self.names[frame.source]
        if self._video is not None and self._video.path != path:
            self._stack.close()
            self._video = None
        if frame.fps is None:
            save_picture(picture, path)
            return
        if self._video is None:
            video = VideoWriter(path, frame.fps, picture.shape[:2])
            self._video = self._stack.enter_context(video)
        self._video.write(picture)


def predict_all(args: argparse.Namespace) -> int:
    """Do what a parsed command line of `build_parser` asks for; returns the exit status."""
    check_range(args, "--every")
    check_range(args, "--max-frames")
    check_range(args, "--batch-size")
    check_range(args, "--proposals")
    check_range(args, "--score-threshold", least=0, most=1)
    style = drawing_style(args)
    check_range(args, "--tile", least=LEAST_TILE)
    check_range(args, "--overlap", least=0, most=MAX_OVERLAP)
    if args.overlap is not None and args.tile is None:
        raise InputError("--overlap is that of tiles; give --tile too.")
    inputs, settings = split_settings(args.input)
    sources = find_sources(inputs, args.recursive)
    suffixes = [".mp4" if is_video(source) else f".{args.format}" for source in sources]
    names = dict(zip(sources, picture_names(map(source_name, sources), suffixes), strict=True))
    folder = Path(args.output)
    written = [] if args.no_pictures else names.values()
    prepare_output(folder, [JSON_NAME, *written], option="--output")
    overrides = [*settings, *args.opts]
    cfg = load_config(args.config_file, overrides, use_detection_data)
    checkpoint = args.checkpoint or default_checkpoint(cfg, args.config_file, overrides)
    predictor = Predictor(
        cfg,
        checkpoint,
        score_threshold=args.score_threshold,
        precision=args.precision,
        compile_backbone=args.compile,
        proposals=args.proposals,
    )
    failures: dict[str, InputError] = {}
    start = time.perf_counter()
    with (
        CocoFile(folder / JSON_NAME, predictor.class_names, predictor.category_ids) as results,
        Pictures(folder, names) as pictures,
    ):
        for frame, instances in _predictions(sources, args, predictor, failures):
            results.add(frame.record, instances)
            if not args.no_pictures:
                is_video_frame = frame.fps is not None
                picture = predictor.draw(
                    frame.pixels, instances, keep_size=is_video_frame, style=style
                )
                pictures.write(frame, picture)
        check_any_was_read(results.num_images, failures)
    seconds = time.perf_counter() - start
    logger.log(
        RESULT,
        "%d objects in %d %s (score above %g), %.1f %s/s, see %s",
        results.num_annotations,
        results.num_images,
        _unit(sources),
        args.score_threshold,
        results.num_images / seconds,
        _unit(sources),
        folder,
    )
    if not results.num_annotations and args.score_threshold > 0:
        logger.log(RESULT, "a lower --score-threshold shows less certain objects")
    return report_failures(failures, len(sources))


def _unit(sources: Sequence[str]) -> str:
    videos = sum(map(is_video, sources))
    return "images" if not videos else "frames" if videos == len(sources) else "images and frames"


def _predictions(
    sources: Sequence[str],
    args: argparse.Namespace,
    predictor: Predictor,
    failures: dict[str, InputError],
) -> Iterator[tuple[Frame, Instances]]:
    """Yield every image and frame with its predictions, whose masks are run lengths."""

    def prepare(frame: Frame) -> None:
        if args.tile is None:
            frame.sample = predictor.prepare(frame.pixels, name=f"'{frame.source}'")
        else:
            frame.instances = predictor.predict_tiles(
                frame.pixels,
                args.tile,
                overlap=DEFAULT_OVERLAP if args.overlap is None else args.overlap,
                batch_size=args.batch_size,
            )

    frames = _read_all(sources, args, prepare, failures)
    for batch in batches(frames, args.batch_size if args.tile is None else 1):
        tiled = [frame.instances for frame in batch if frame.instances is not None]
        samples = [frame.sample for frame in batch if frame.instances is None]
        yield from zip(batch, tiled or predictor.predict(samples, run_lengths=True), strict=True)


def _read_all(
    sources: Sequence[str],
    args: argparse.Namespace,
    prepare: Callable[[Frame], None],
    failures: dict[str, InputError],
) -> Iterator[Frame]:
    """Yield every image and frame, prepared; a source that fails is logged and skipped."""
    with progress_bar(desc="predicting", unit=f" {_unit(sources)}", total=0) as progress:

        def read(source: str) -> Iterator[Frame]:
            progress.total -= 1
            for frame in _read(source, args, progress):
                prepare(frame)
                yield frame
                progress.update()

        progress.total = len(sources)
        yield from each_input(sources, read, failures, len(sources))


def _read(source: str, args: argparse.Namespace, progress: tqdm) -> Iterator[Frame]:
    """Yield the image or the frames of a file, and tell the progress bar how many they are."""
    if not is_video(source):
        progress.total += 1
        yield Frame(source, {"file_name": source}, read_rgb(source))
        return
    reader = VideoReader(source, args.every, args.max_frames)
    progress.total += reader.num_frames
    for number, seconds, pixels in reader:
        place = {"frame_number": number, "seconds": round(seconds, 6)}
        record = {"file_name": source_name(source), **place}
        yield Frame(source, record, pixels, fps=reader.fps)


def run(args: argparse.Namespace) -> int:
    """Predict, and return the exit status."""
    return run_tool(lambda: predict_all(args), args)
