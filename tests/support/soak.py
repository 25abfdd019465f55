"""A soak: what a process holds while it trains, predicts or starts predictors for a long time.

Each part is a process, measures itself at the same place of each period, and ends with status 1
where something grows.

Example: python -m tests.support.soak train FOLDER --count 20000 --period 100
"""

import argparse
import csv
import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.config import LazyCall as L
from detectron2.engine import HookBase
from omegaconf import DictConfig
from scipy.stats import theilslopes

# Share of a part that is left out: allocators fill, and the last 1,000 losses are kept.
WARM_UP = 0.5
NUM_BLOCKS = 16  # medians that a slope is fitted to; neighboring samples are not independent
CONFIDENCE = 0.95
# What may be there at the end more than after the warm-up: MB, and numbers of things. A leak of one
# thing for each period shows as many times that.
ALLOWED = {"rss": 2.0, "shared": 1.0, "children_rss": 2.0}
COUNTS = ("files", "descriptors", "threads", "children", "shm_files")
FIELDS = ("count", "seconds", *ALLOWED, *COUNTS)


def measure(pid: int | str = "self") -> dict[str, float]:
    """Return what a process holds: memory in MB, open files, descriptors, threads, children.

    ``shared`` is its share of /dev/shm and other shared memory; ``children_rss`` is memory of its
    own of each child, added up; ``shm_files`` are names in /dev/shm that hold its process id.
    """
    status = _status(pid)
    descriptors = Path(f"/proc/{pid}/fd")
    targets = [os.path.realpath(path) for path in descriptors.iterdir()]
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [c for task in tasks for c in (task / "children").read_text().split()]
    name = f"_{os.getpid() if pid == 'self' else pid}_"
    return {
        "rss": status["VmRSS"] / 1024,
        "shared": status["RssShmem"] / 1024,
        "children_rss": sum(_status(child).get("RssAnon", 0) for child in children) / 1024,
        "files": sum(os.path.isfile(target) for target in targets),
        "descriptors": len(targets) - 1,  # one is that of the folder
        "threads": status["Threads"],
        "children": len(children),
        "shm_files": sum(name in path.name for path in Path("/dev/shm").iterdir()),
    }


def _status(pid: int | str) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return {}
    pairs = (line.split()[:2] for line in lines if len(line.split()) > 1)
    return {key[:-1]: int(value) for key, value in pairs if value.isdigit()}


class Samples:
    """A table of measurements, which is written as it grows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, FIELDS)
        self._writer.writeheader()
        self._start = time.monotonic()

    def add(self, count: int) -> None:
        """Measure this process after so many iterations, images or starts."""
        gc.collect()
        row = {k: round(v, 3) for k, v in measure().items()}
        seconds = round(time.monotonic() - self._start, 1)
        self._writer.writerow({"count": count, "seconds": seconds, **row})
        self._file.flush()


class SampleResources(HookBase):
    """Hook that measures its process periodically."""

    def __init__(self, path: str, period: int) -> None:
        self.samples = Samples(Path(path))
        self.period = period

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done % self.period == 0:
            self.samples.add(done)


def read_samples(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a table."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in FIELDS}


def growth(count: np.ndarray, values: np.ndarray) -> tuple[float, float, float]:
    """Return by how much a quantity grows over the time after the warm-up, and a 95 % interval.

    The slope is Theil and Sen's, of medians of blocks: steps of an allocator, single high values
    and the dependence of neighbors change it little.
    """
    start = np.searchsorted(count, count[-1] * WARM_UP)
    x, y = count[start:], values[start:]
    parts = np.array_split(np.arange(len(x)), min(NUM_BLOCKS, len(x)))
    medians = [(np.median(x[part]), np.median(y[part])) for part in parts]
    block_x, block_y = np.array(medians).T
    slope, _, low, high = theilslopes(block_y, block_x, CONFIDENCE)
    span = x[-1] - x[0]
    return slope * span, low * span, high * span


def find_growth(samples: dict[str, np.ndarray]) -> dict[str, tuple[float, float, float]]:
    """Return what is not flat, with its growth and the interval of it.

    Memory is flat if the whole interval is below what is allowed. Things that are counted are flat
    if there are no more of them in the last block than in the first.
    """
    result = {}
    for name, allowed in ALLOWED.items():
        found = growth(samples["count"], samples[name])
        if found[2] > allowed:
            result[name] = found
    for name in COUNTS:
        found = growth(samples["count"], samples[name])
        if found[0] > 0 or _rise(samples["count"], samples[name]) > 0:
            result[name] = found
    return result


def _rise(count: np.ndarray, values: np.ndarray) -> float:
    after = values[np.searchsorted(count, count[-1] * WARM_UP) :]
    size = max(1, len(after) // NUM_BLOCKS)
    return float(np.median(after[-size:]) - np.median(after[:size]))


def train_long(folder: Path, table: Path, count: int, period: int, leak: str | None) -> None:
    """Train a tiny detector, with a loading process."""
    cfg = tiny_config(folder)
    cfg.train.curves = ["bbox/AP", "segm/AP"]
    cfg.dataloader.train.num_workers = cfg.dataloader.test.num_workers = 1
    _train(cfg, folder / "train", table, count, period, leak)


def loop_long(folder: Path, table: Path, count: int, period: int, leak: str | None) -> None:
    """Train eight weights: many iterations of all that a training is beside its model."""
    from tests.support.regression import regression_config

    cfg = regression_config(folder / "x", final_test=True)
    _train(cfg, folder / "loop", table, count, period, leak)


def _train(
    cfg: DictConfig, output: Path, table: Path, count: int, period: int, leak: str | None
) -> None:
    """Train with evaluations, checkpoints and pictures of curves."""
    from bpt_det.engine import storage, train

    storage.MAX_VALUES = min(storage.MAX_VALUES, count // 4)  # full after the warm-up
    cfg.train.update(max_iter=count, eval_period=5 * period, log_period=20, output_dir=str(output))
    cfg.train.checkpointer.period = 5 * period
    cfg.train.ema.decay = 0.99
    cfg.train.hooks = [L(SampleResources)(path=str(table), period=period)]
    if leak is not None:
        cfg.train.hooks.append(L(Leak)(kind=leak))
    train(cfg)


def predict_long(folder: Path, table: Path, count: int, period: int, leak: str | None) -> None:
    """Predict images with one predictor, and draw some of the results."""
    predictor, images = _predictor(folder)
    samples, leaking = Samples(table), Leak(leak)
    for number in range(1, count + 1):
        image = images[number % len(images)]
        predictions = predictor(image)
        if number % 20 == 0:
            predictor.draw(image, predictions)
        leaking.after_step()
        if number % period == 0:
            samples.add(number)


def start_often(folder: Path, table: Path, count: int, period: int, leak: str | None) -> None:
    """Build predictors one after another, and predict an image with each."""
    samples, leaking = Samples(table), Leak(leak)
    for number in range(1, count + 1):
        predictor, images = _predictor(folder)
        predictor(images[0])
        del predictor
        leaking.after_step()
        if number % period == 0:
            samples.add(number)


def _predictor(folder: Path):
    from bpt_det.data.images import read_rgb
    from bpt_det.inference import Predictor

    predictor = Predictor(folder / "config.yaml", folder / "model_final.pth", device="cpu")
    paths = sorted((folder / "shapes/val").iterdir())
    return predictor, [read_rgb(path) for path in paths]


def tiny_config(folder: Path) -> DictConfig:
    """Return the config of a tiny detector on shapes, which are drawn if they are not there."""
    from bpt_det.config import load_config
    from bpt_det.shapes import write_shapes
    from tests.support.detectors import shrink, use_shapes

    root = folder / "shapes"
    if not root.is_dir():
        write_shapes(root, num_train=64, num_val=8, image_size=64, seed=3)
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), root)
    cfg.train.device = "cpu"
    for box_predictor in cfg.model.roi_heads.box_predictors:
        box_predictor.test_topk_per_image = 6
    return cfg


class Leak(HookBase):
    """A planted leak: memory (5 MB in 1,000 calls), shared memory, files, descriptors, threads,
    child processes (one in 25 calls), or the ``history`` of all values; None: there is none.
    """

    def __init__(self, kind: str | None) -> None:
        self.kind = kind
        self.kept: list = []
        self.number = 0

    def after_step(self) -> None:
        """Lose a little, at every 25th call where it is not memory."""
        self.number += 1
        if self.kind == "rss":
            self.kept.append(bytearray(5000))
        elif self.kind == "history":
            for history in self.trainer.storage.histories().values():
                history._max_length = 1_000_000
        elif self.number % 25 == 0 and self.kind is not None:
            self._lose()

    def _lose(self) -> None:
        import multiprocessing
        import threading

        if self.kind == "descriptors":
            self.kept.append(os.pipe())
        elif self.kind == "files":
            self.kept.append(Path(__file__).open())
        elif self.kind == "shared":
            self.kept.append(torch.ones(25_000).share_memory_())
        elif self.kind == "threads":
            threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()
        elif self.kind == "children":
            process = multiprocessing.Process(target=time.sleep, args=(1e6,), daemon=True)
            process.start()
            self.kept.append(process)


PARTS: dict[str, Callable[[Path, Path, int, int, str | None], None]] = {
    "train": train_long,
    "loop": loop_long,
    "predict": predict_long,
    "start": start_often,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a part, and report what it held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("folder", type=Path, help="of data and files; results are added to it")
    parser.add_argument("--count", type=int, required=True, help="iterations, images or starts")
    parser.add_argument("--period", type=int, required=True, help="of the measurements")
    parser.add_argument("--leak", help="plant a leak of this kind")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.part in ("predict", "start") and not (args.folder / "model_final.pth").is_file():
        from detectron2.config import LazyConfig, instantiate

        from bpt_det.engine import FrozenAwareCheckpointer

        cfg = tiny_config(args.folder)
        LazyConfig.save(cfg, str(args.folder / "config.yaml"))
        FrozenAwareCheckpointer(instantiate(cfg.model), str(args.folder)).save("model_final")
    table = args.folder / f"{args.part}.csv"
    PARTS[args.part](args.folder, table, args.count, args.period, args.leak)
    samples = read_samples(table)
    grown = find_growth(samples)
    for name in (*ALLOWED, *COUNTS):
        change, low, high = growth(samples["count"], samples[name])
        print(
            f"{name}: {samples[name][-1]:.1f} at the end; change {change:+.2f} "
            f"[{low:+.2f}, {high:+.2f}]{' GROWS' if name in grown else ''}"
        )
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
