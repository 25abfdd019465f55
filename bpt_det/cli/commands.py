"""Table of the commands: name, the file in tools/ that runs the same, group and summary."""

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "bpt-det"


@dataclass(frozen=True)
class Command:
    """One command; its module is `bpt_det.cli.NAME`, with underscores.

    Args:
        name: after ``bpt-det``.
        tool: file in ``tools/``, without its suffix.
        group: heading in the list of commands.
        summary: one line for that list.
        example: arguments of an example for that list; "" for none.
    """

    name: str
    tool: str
    group: str
    summary: str
    example: str = ""

    @property
    def module(self) -> str:
        return f"bpt_det.cli.{self.name.replace('-', '_')}"


_SETUP, _TRAIN, _APPLY, _DATA, _MEASURE, _DEMO = (
    "Set up",
    "Train and evaluate",
    "Apply a trained model",
    "Prepare data",
    "Compare and measure",
    "Demonstrate",
)

COMMANDS = {
    command.name: command
    for command in (
        Command("setup-detectron2", "install_detectron2", _SETUP, "install Detectron2"),
        Command(
            "doctor", "doctor", _SETUP, "report versions, GPUs, data and what is missing", "--json"
        ),
        Command(
            "train",
            "train_net",
            _TRAIN,
            "train or evaluate a detector",
            "--config-file coco/cascade_bpt_s --num-gpus 8",
        ),
        Command(
            "train-cls",
            "train_cls",
            _TRAIN,
            "train or evaluate an image classifier",
            "--config-file fgvc/cub method=bpt_s dataloader.root=/data",
        ),
        Command(
            "pretrain",
            "pretrain_mae",
            _TRAIN,
            "pre-train a ViT as a masked autoencoder",
            "--config-file shapes/mae_micro data=/data/photographs",
        ),
        Command(
            "eval",
            "eval",
            _TRAIN,
            "evaluate a trained detector or classifier",
            "--config-file run/config.yaml --checkpoint run/model_best.pth",
        ),
        Command(
            "report",
            "write_report",
            _TRAIN,
            "write report.html for a run: curves, tables, pictures, settings",
            "output/mine",
        ),
        Command(
            "submit",
            "submit",
            _TRAIN,
            "submit one of these to SLURM, and again after a preemption",
            "--nodes 2 --gpus-per-node 8 -- train --config-file coco/cascade_bpt_s",
        ),
        Command(
            "predict",
            "predict",
            _APPLY,
            "detect objects in images, folders and videos",
            "--config-file run/config.yaml --checkpoint FILE --input photos --output found",
        ),
        Command(
            "classify",
            "classify",
            _APPLY,
            "tell the likeliest classes of images",
            "--config-file run/config.yaml --input photos --output classes",
        ),
        Command(
            "visualize",
            "visualize_masks",
            _APPLY,
            "draw ground truth beside predictions",
            "--config-file run/config.yaml --output pictures",
        ),
        Command(
            "export",
            "export",
            _APPLY,
            "write a task file to share, or ONNX files",
            "--config-file run/config.yaml --checkpoint FILE --output task --task",
        ),
        Command(
            "check", "check_dataset", _DATA, "list all faults of a dataset", "train.json images"
        ),
        Command(
            "convert",
            "convert_dataset",
            _DATA,
            "write a YOLO, VOC, labelme or other dataset as clean COCO files",
            "mine/data.yaml --output mine_coco",
        ),
        Command(
            "stats",
            "collect_statistics",
            _DATA,
            "collect the token statistics that prompts need",
            "--config-file coco/cascade method=fwhiten_s",
        ),
        Command(
            "compare",
            "compare",
            _MEASURE,
            "run a comparison of methods and report it",
            "--plan compare/cub --jobs 2",
        ),
        Command(
            "benchmark",
            "benchmark",
            _MEASURE,
            "measure time and memory of a detector",
            "--config-file coco/cascade_bpt_s --measure forward",
        ),
        Command(
            "memory",
            "estimate_memory",
            _MEASURE,
            "predict the GPU memory that training takes",
            "--config-file coco/cascade_bpt_s",
        ),
        Command(
            "burstiness",
            "measure_burstiness",
            _MEASURE,
            "measure how bursty a ViT's tokens are",
            "--config-file coco/cascade --images photos --picture figure.png",
        ),
        Command("demo", "demo", _DEMO, "train and evaluate a small detector from scratch"),
        Command("demo-cls", "demo_cls", _DEMO, "train and test small classifiers from scratch"),
        Command("overfit", "overfit_check", _DEMO, "check that a detector memorizes 8 photographs"),
    )
}


def invocation(name: str) -> str:
    """Return how a command is typed, in the way in which this process was called.

    That is ``python tools/train_net.py`` for a tool of a checkout, ``python -m bpt_det.cli train``
    for the module, and ``bpt-det train`` for all else.
    """
    called = Path(sys.argv[0])
    if called.suffix == ".py" and called.stem in {command.tool for command in COMMANDS.values()}:
        return f"python {shlex.quote(str(called.with_name(f'{COMMANDS[name].tool}.py')))}"
    if called.parts[-3:] == ("bpt_det", "cli", "__main__.py"):
        return f"python -m bpt_det.cli {name}"
    return f"{PROGRAM} {name}"


def build_plain_parser(command: str, description: str) -> argparse.ArgumentParser:
    """Return a parser without arguments, for commands that work before anything is installed.

    Args:
        command: name of the command.
        description: of the command, ending with an example; its lines are kept as they are.
    """
    return argparse.ArgumentParser(
        prog=invocation(command),
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
