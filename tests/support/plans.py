"""Experiment plan of two methods, and a stand-in for the program that trains them."""

import json
import sys
from pathlib import Path

PLAN = """
plan = dict(
    name="birds", title="Birds", about="What this is.", command="train-cls",
    settings={"data": "folder:/birds", "train.epochs": 2, "model.backbone.placement": [0, 2]},
    grid={"optimizer.lr": [0.1, 0.01]}, seeds=[3, 4],
    select="val/top1", report={"test top-1": "test/top1"},
    grid_settings={"dataloader.final_test": None},
    methods={
        "linear": dict(label="linear head", config="a.py", grid={"optimizer.lr": [0.5]}),
        "bpt": dict(label="BPT", config="b.py", method="bpt_s", settings={"train.epochs": 3}),
    },
    curves=["bpt"], before=["python prepare.py"],
)
"""

# Its accuracy is 100 * lr + seed, that of the test 1 below. In `behavior.json` beside it: by a word
# of the command line, "diverge", "predict nothing", "refuse" (before it begins), "fail" (with a
# result.json) or "hang" (after it has opened a pipe).
PROGRAM = """
import json, signal, sys
from pathlib import Path

here, words = Path(__file__).parent, sys.argv[1:]
with open(here / "calls.jsonl", "a") as file:
    file.write(json.dumps(words) + "\\n")
behaviors = json.loads((here / "behavior.json").read_text())
behavior = next((behaviors[word] for word in words if word in behaviors), "")
settings = dict(word.split("=", 1) for word in words if "=" in word)
if behavior in ("preempt", "int"):
    print("out of time", file=sys.stderr)
    sys.exit({"preempt": 75, "int": 130}[behavior])
if behavior == "refuse":
    sys.exit("a warning\\nerror: no images; add some.")
if behavior == "hang":
    open(here / "begun", "w").close()
    signal.pause()
if words[0] == "stats":
    path = Path(settings["train.prompt_statistics"].strip("'"))
    path.parent.mkdir(parents=True)
    path.touch()
    sys.exit()
folder = Path(settings["train.output_dir"].strip("'"))
folder.mkdir(parents=True, exist_ok=True)
if behavior == "fail":
    failure = {"status": "failed", "error": "the card is full", "command": sys.argv}
    (folder / "result.json").write_text(json.dumps(failure))
    sys.exit("a warning\\nTraceback")
value = 100 * float(settings["optimizer.lr"]) + int(settings["train.seed"])
if behavior == "predict nothing":
    value = float("nan")
records = [
    {"iteration": 9, "val/top1": value},
    {"iteration": 19, "val/top1": value - 2, "test/top1": value - 1},
    *([{"iteration": 9, "prompt_rms_0": 3, "prompt_rms_7": 4}] if "b.py" in words else []),
]
(folder / "metrics.json").write_text("\\n".join(map(json.dumps, records)))
last, test = (None if value != value else value - less for less in (2, 1))
result = {
    "status": "diverged" if behavior == "diverge" else "finished",
    "metrics": {"last": {"val/top1": last}, "best": {}, "final": {"test/top1": test}},
    "iterations": 20, "seconds": 1800, "iteration_seconds": 0.5,
    "trained_parameters": 1234, "command": sys.argv,
}
(folder / "result.json").write_text(json.dumps(result))
sys.exit(3 if behavior == "diverge" else 0)
"""


class StandInProgram:
    """Writes `PROGRAM` into a folder, and reads the command lines that it has been called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "program.py").write_text(PROGRAM)
        self.behave({})

    @property
    def words(self) -> list[str]:
        """Words that start its command line."""
        return [sys.executable, str(self.folder / "program.py")]

    def behave(self, behaviors: dict[str, str]) -> None:
        """Set how calls with a word end, see `PROGRAM`; forget the calls so far."""
        (self.folder / "behavior.json").write_text(json.dumps(behaviors))
        (self.folder / "calls.jsonl").write_text("")

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]
