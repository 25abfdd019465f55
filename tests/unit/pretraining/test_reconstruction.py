"""Reconstruction evaluator: loss and picture."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from bpt_det.pretraining import ReconstructionEvaluator
from bpt_det.pretraining.reconstruction import draw_row
from bpt_det.utils.errors import InputError

NUMBERS = itertools.count()


def result(loss, color=200.0):
    """A sample of 8 x 12 pixels with 6 patches of 4, of which the second and last are masked."""
    mask = torch.tensor([False, True, False, False, False, True])
    filled = torch.tensor([color, 20.0, 30.0]).view(3, 1, 1).expand(3, 8, 12)
    image = torch.full((3, 8, 12), 10, dtype=torch.uint8)
    sample = {"image_id": f"{next(NUMBERS)}.jpg", "image": image}
    return sample, {"loss": torch.tensor(loss), "mask": mask, "reconstruction": filled}


def test_the_loss_is_the_mean_over_all_images_whatever_the_batches(tmp_path):
    evaluator = ReconstructionEvaluator("val")
    for losses in ((1.0, 2.0, 3.0), (6.0,)):
        inputs, outputs = zip(*map(result, losses), strict=True)
        evaluator.process(inputs, outputs)
    evaluator.process(inputs, outputs)  # the last one counts once
    assert evaluator.evaluate() == {"val": {"loss": 3.0}}
    evaluator.reset()
    with pytest.raises(InputError, match="no image of the val data"):
        evaluator.evaluate()


def test_a_picture_that_cannot_be_written_is_left_out(tmp_path, caplog):
    (tmp_path / "reconstructions.png").mkdir()
    evaluator = ReconstructionEvaluator("val", str(tmp_path))
    evaluator.process(*([each] for each in result(1.0)))
    assert evaluator.evaluate() == {"val": {"loss": 1.0}}
    assert "It is left out." in caplog.text


def test_a_row_shows_what_the_encoder_saw_what_it_made_of_it_and_what_it_was():
    masked, filled, original = draw_row(*result(1.0))
    assert (original == 10).all() and (filled == [200, 20, 30]).all()
    expected = np.full((8, 12), 10)
    expected[:4, 4:8] = expected[4:, 8:] = 128
    assert all((masked[..., channel] == expected).all() for channel in range(3))


def test_the_sheet_has_three_columns_and_no_more_rows_than_wanted(tmp_path):
    evaluator = ReconstructionEvaluator("val", str(tmp_path / "new"), num_pictures=2)
    inputs, outputs = zip(*[result(1.0, color) for color in (50.0, 90.0, 250.0)], strict=True)
    evaluator.process(inputs, outputs)
    evaluator.evaluate()
    sheet = np.asarray(Image.open(tmp_path / "new/reconstructions.png").convert("RGB"))
    assert sheet.shape[:2] == (8 + 26 + 2 * (64 + 8), 8 + 3 * (96 + 8))  # enlarged 8 times
    colors = {tuple(color) for color in sheet.reshape(-1, 3)}
    assert {(50, 20, 30), (90, 20, 30), (10, 10, 10), (128, 128, 128)} <= colors
    assert (250, 20, 30) not in colors
