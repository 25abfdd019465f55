"""Check, training, and evaluation of one COCO file, in a process that may hang or grow."""

import contextlib
import copy
import gc
import io
import json
import logging
import multiprocessing
import os
import resource
import signal
import time
import traceback
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances
from omegaconf import DictConfig

from bpt_det.cli.app import main
from bpt_det.config import load_config
from bpt_det.config.overrides import as_override
from bpt_det.detection import CocoEvaluator, load_dataset
from tests.support.detectors import shrink
from tests.support.paths import ROOT

from .kinds import Data, index_of_image, mask_of

MEMORY = 2**31  # bytes beyond those that the process has
SECONDS = 60  # for all stages of a file


def tiny_config() -> DictConfig:
    """Return a config whose first iteration trains on every image of the sound dataset."""
    cfg = shrink(load_config(str(ROOT / "configs/coco/overfit_micro.py")))
    cfg.train.update(max_iter=1, eval_period=1, log_period=1, device="cpu")
    cfg.dataloader.train.total_batch_size = cfg.dataloader.test.batch_size = 5
    cfg.dataloader.test.dataset = copy.deepcopy(cfg.dataloader.train.dataset)
    cfg.dataloader.test.dataset.filter_empty = False
    cfg.model.backbone.net.vit.num_blocks = 2
    for box_predictor in cfg.model.roi_heads.box_predictors:
        box_predictor.test_topk_per_image = 4
    return cfg


def warm_up(cfg: DictConfig, data: Data) -> None:
    """Let this process import and compile what those that it starts need."""
    check(data)
    train(cfg, data.folder / "warm", data, data)
    gc.collect()
    gc.freeze()


def run_apart(work: Any, *args: Any) -> dict:
    """Return what ``work(record, *args)`` puts into a dict, from a process of its own.

    ``ended`` says how it came to its end: well, killed, or by which exception.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        _work(work, args, sender)
    sender.close()
    chunks: dict = {}
    with contextlib.suppress(EOFError):
        while True:
            chunks |= receiver.recv()
    receiver.close()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        chunks["ended"] = "hangs" if name == "SIGALRM" else f"killed by {name}"
    return chunks


def _work(work: Any, args: tuple, sender: Any) -> None:
    """Do the work of the other process, which ends here."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        work(sender.send, *args)
        sender.send({"ended": "well"})
    except BaseException:
        sender.send({"ended": traceback.format_exc()})
    finally:
        os._exit(0)


def run_command(*words: object) -> dict:
    """Return what a command says, and its exit status or the exception that it raises."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # as those of a process
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    start = time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status: object = main([str(word) for word in words])
        except SystemExit as error:
            status = error.code
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename[-40:]}:{place.lineno}"
            status = f"{type(error).__name__}: {str(error)[:150]} ({where})"
    texts = []
    for stream in (out, err):
        stream.seek(0)
        texts.append(stream.read())
    text = texts[1]
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    said = {"status": status, "out": texts[0], "err": text, "errors": errors}
    return {**said, "seconds": time.monotonic() - start}


def check(data: Data) -> dict:
    """Return what the check says; ``kinds`` maps findings to their severity."""
    report = data.folder / "report.json"
    said = run_command("check", data.json_file, data.images, "--json", report)
    said["kinds"] = {}
    if report.exists():
        content = strict_json(report.read_text())
        said["kinds"] = {kind["kind"]: kind["severity"] for kind in content["kinds"]}
    return said


def train(cfg: DictConfig, output: Path, train_data: Data, test_data: Data) -> dict:
    """Return what one iteration and an evaluation give: losses and metrics, strict JSON or not.

    The config is neither read nor saved, which would take longer than all the rest.
    """
    sources = {"train": train_data, "val": test_data}
    settings = {f"data.{key}": f"{data.json_file}:{data.images}" for key, data in sources.items()}
    settings["train.output_dir"] = str(output)
    with (
        mock.patch("bpt_det.config.loading.read_config", lambda *_: copy.deepcopy(cfg)),
        mock.patch("bpt_det.engine.run.save_config"),
        _warnings() as warnings,
    ):
        config = ROOT / "configs/coco/overfit_micro.py"
        opts = [as_override(*setting) for setting in settings.items()]
        said = run_command("train", "--config-file", config, *opts)
    said["warnings"] = warnings
    metrics = output / "metrics.json"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    said["not_strict"] = []
    values: dict = {}
    for name, texts in (
        ("metrics.json", lines),
        *((p.name, [p.read_text()]) for p in output.glob("result.json")),
        *((p.name, [p.read_text()]) for p in output.rglob("coco_instances_results.json")),
    ):
        for text in texts:
            try:
                content = strict_json(text)
            except ValueError as error:
                said["not_strict"].append(f"{name}: {error}")
                content = json.loads(text)
            values |= content if name == "metrics.json" else {}
    said["losses"] = {key: value for key, value in values.items() if "loss" in key}
    said["metrics"] = {key: value for key, value in values.items() if "/AP" in key}
    return said


def score_truth(data: Data, meaning: dict) -> dict:
    """Return the metrics of predictions that are what the file means.

    Its images are told by their pixels, its classes by their names.
    """
    name = f"truth of {data.json_file}"
    with _warnings() as warnings:
        records = load_dataset(
            name, filter_empty=False, json_file=str(data.json_file), image_root=str(data.images)
        )
        classes = list(MetadataCatalog.get(name).thing_classes)
        has_masks = any("segmentation" in a for a in meaning.get("annotations", []))
        tasks = ("bbox", "segm") if has_masks else ("bbox",)
        evaluator = CocoEvaluator(name, str(data.folder), tasks)
        evaluator.reset()
        for record in records:
            instances = _true_instances(record, meaning, classes, has_masks)
            evaluator.process([record], [{"instances": instances}])
        metrics = evaluator.evaluate()
    results = strict_json((data.folder / "coco_instances_results.json").read_text())
    return {
        "metrics": {task: dict(values) for task, values in (metrics or {}).items()},
        "records": len(records),
        "results": len(results),
        "image_ids": sorted({json.dumps(result["image_id"]) for result in results}),
        "warnings": warnings,
    }


def _true_instances(record: dict, meaning: dict, classes: list[str], has_masks: bool) -> Instances:
    image = meaning["images"][index_of_image(record)]
    categories = sorted(meaning["categories"], key=lambda category: category["id"])
    names = _numbered([category["name"] for category in categories])
    index_of = {
        c["id"]: _numbered(classes).index(n) for c, n in zip(categories, names, strict=True)
    }
    size = (image["height"], image["width"])
    objects = [
        a
        for a in meaning.get("annotations", [])
        if a["image_id"] == image["id"] and not a["iscrowd"] and _has_pixel(a, image, has_masks)
    ]
    instances = Instances(size)
    boxes = np.array([a["bbox"] for a in objects], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    instances.pred_boxes = Boxes(torch.tensor(boxes))
    instances.scores = torch.ones(len(objects))
    instances.pred_classes = torch.tensor(
        [index_of[a["category_id"]] for a in objects], dtype=torch.long
    )
    if has_masks:
        masks = np.array([mask_of(a, image) for a in objects]).reshape(-1, *size)
        instances.pred_masks = torch.tensor(masks)
    return instances


def _numbered(names: list[str]) -> list[tuple[str, int]]:
    """Return names that may occur twice with how often each has occurred before."""
    return [(name, names[:index].count(name)) for index, name in enumerate(names)]


def _has_pixel(annotation: dict, image: dict, has_masks: bool) -> bool:
    """Return whether an object's box reaches into the image, and its mask has a pixel."""
    x, y, width, height = annotation["bbox"]
    right, low = min(x + width, image["width"]), min(y + height, image["height"])
    is_inside = right > max(x, 0) and low > max(y, 0)
    return is_inside and (not has_masks or bool(mask_of(annotation, image).any()))


def strict_json(text: str) -> Any:
    """Parse JSON as its standard has it: without NaN and lone surrogates."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    text.encode()
    return json.loads(text, parse_constant=refuse)


@contextlib.contextmanager
def _warnings():
    """Yield a list that gets what the package logs as warnings."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("bpt_det")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
