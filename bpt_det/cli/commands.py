"""Table of the commands: name, the file in tools/ that runs the same, group and summary."""

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
    """

    name: str
    tool: str
    group: str
    summary: str

    @property
    def module(self) -> str:
        return f"bpt_det.cli.{self.name.replace('-', '_')}"


_SETUP, _TRAIN, _APPLY, _DATA, _MEASURE, _DEMO = (
    "Set up",
    "Train and evaluate",
    "Apply a trained detector",
    "Prepare data",
    "Compare and measure",
    "Demonstrate",
)

COMMANDS = {
    command.name: command
    for command in (
        Command("setup-detectron2", "install_detectron2", _SETUP, "install Detectron2"),
        Command("doctor", "doctor", _SETUP, "report versions, GPUs, data and what is missing"),
        Command("train", "train_net", _TRAIN, "train or evaluate a detector"),
        Command("train-cls", "train_cls", _TRAIN, "train or evaluate an image classifier"),
        Command("pretrain", "pretrain_mae", _TRAIN, "pre-train a ViT as a masked autoencoder"),
        Command("eval", "eval", _TRAIN, "evaluate a trained detector or classifier"),
        Command("predict", "predict", _APPLY, "detect objects in images, folders and videos"),
        Command("visualize", "visualize_masks", _APPLY, "draw ground truth beside predictions"),
        Command("check", "check_dataset", _DATA, "list all faults of a dataset"),
        Command(
            "stats", "collect_statistics", _DATA, "collect the token statistics that prompts need"
        ),
        Command("compare", "compare", _MEASURE, "run a comparison of methods and report it"),
        Command("benchmark", "benchmark", _MEASURE, "measure time and memory of a detector"),
        Command(
            "memory", "estimate_memory", _MEASURE, "predict the GPU memory that training takes"
        ),
        Command(
            "burstiness", "measure_burstiness", _MEASURE, "measure how bursty a ViT's tokens are"
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
