"""The size of prompts over the training, against values set by hand; metrics.json is JSON."""

import json
import math

import pytest
import torch
from detectron2.engine import TrainerBase
from detectron2.utils.events import EventStorage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from bpt_det.engine.hooks import MetricsWriter, RecordPromptRms
from bpt_det.engine.metrics import read_records
from bpt_det.prompts import BilinearPrompt
from bpt_det.vit import PromptedViT
from tests.support.vits import TINY_SIZES, tiny_vit


class Trainer:
    def __init__(self, storage):
        self.storage = storage
        self.iter = 0


def test_each_block_is_recorded_at_the_first_iteration_and_every_period():
    width = TINY_SIZES["embed_dim"]
    model = PromptedViT(tiny_vit(), BilinearPrompt(3, 2, width), "last_2")
    hook = RecordPromptRms(torch.nn.Sequential(model), period=3)
    recorded = {}
    with EventStorage() as storage:
        hook.trainer = Trainer(storage)
        for iteration in range(7):
            hook.trainer.iter = storage.iter = iteration
            for number, prompt in enumerate(model.prompts.values(), 1):
                prompt.coeff.data[:] = torch.tensor([number, 2.0])
                prompt.basis.data[:] = iteration
            hook.after_step()
            recorded |= {
                (name, written): value
                for name, (value, written) in storage.latest().items()
                if written == iteration
            }
    first, last = (f"prompt_rms_{index}" for index in model.prompts)
    assert recorded == {
        (name, iteration): pytest.approx((number + 2) * iteration)
        for number, name in ((1, first), (2, last))
        for iteration in (0, 2, 5)
    }
    assert not any(math.isnan(value) for value in recorded.values())


class Recording(TrainerBase):
    """Records given values at each iteration."""

    def __init__(self, **values):
        super().__init__()
        self.values = values

    def run_step(self):
        self.storage.put_scalars(**self.values, smoothing_hint=False)


def write(folder, start, stop, **values):
    trainer = Recording(**values)
    trainer.register_hooks([MetricsWriter(folder, period=1, max_iter=100)])
    trainer.train(start, stop)


def test_what_json_has_no_number_for_is_null_in_metrics_json(tmp_path):
    write(tmp_path, 0, 1, ap=2.5, none=math.nan, low=-math.inf)
    (line,) = (tmp_path / "metrics.json").read_text().splitlines()
    record = json.loads(line, parse_constant=pytest.fail)
    assert record == {"ap": 2.5, "iteration": 0, "low": None, "none": None}


def test_a_resumed_run_replaces_what_it_writes_again_and_lines_that_were_cut(tmp_path):
    write(tmp_path, 0, 5, ap=1.0)
    with (tmp_path / "metrics.json").open("a") as file:
        file.write('{"ap": 3.0, "itera')
    write(tmp_path, 3, 6, ap=2.0)
    records = list(read_records(tmp_path / "metrics.json"))
    expected = [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]
    assert [(record["iteration"], record["ap"]) for record in records] == expected
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("ap")
    assert [(event.step, event.value) for event in events] == expected


def test_a_run_goes_on_without_its_metrics_and_writes_them_when_it_can(
    tmp_path, monkeypatch, caplog
):
    path = tmp_path / "metrics.json"
    path.mkdir()  # nothing can be written there
    step = Recording.run_step

    def free_at_2(self):
        if self.iter == 2:
            path.rmdir()
        step(self)

    monkeypatch.setattr(Recording, "run_step", free_at_2)
    write(tmp_path, 0, 3, ap=1.0)
    assert [record["iteration"] for record in read_records(path)] == [0, 1, 2]
    assert caplog.text.count("metrics.json' cannot be written (Is a directory)") == 1


def test_a_run_goes_on_without_tensorboard(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", fail)
    write(tmp_path, 0, 3, ap=1.0)
    assert len(list(read_records(tmp_path / "metrics.json"))) == 3
    assert caplog.text.count("TensorBoard gets no further metrics (OSError") == 1
