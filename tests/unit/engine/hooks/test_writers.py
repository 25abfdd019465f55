"""The size of prompts over the training, against values set by hand; metrics.json is JSON."""

import json
import math

import pytest
import torch
from detectron2.utils.events import EventStorage

from bpt_det.engine.hooks import RecordPromptRms, build_writers
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


def test_what_json_has_no_number_for_is_null_in_metrics_json(tmp_path):
    with EventStorage() as storage:
        storage.put_scalars(ap=2.5, none=math.nan, low=-math.inf, smoothing_hint=False)
        for writer in build_writers(str(tmp_path), max_iter=1):
            writer.write()
            writer.close()
    (line,) = (tmp_path / "metrics.json").read_text().splitlines()
    record = json.loads(line, parse_constant=pytest.fail)
    assert record == {"ap": 2.5, "iteration": 0, "low": None, "none": None}
