import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image

from bpt_det.detection.prediction import (
    folder_records,
    predict,
    predicted_objects,
    read_rgb,
    spread_evenly,
)
from bpt_det.errors import InputError


def records(number):
    return [{"image_id": 10 * index} for index in range(number)]


def ids(chosen):
    return [record["image_id"] for record in chosen]


def test_the_choice_does_not_depend_on_the_order_of_the_records():
    assert ids(spread_evenly(records(29), 4)) == ids(spread_evenly(records(29)[::-1], 4))


@pytest.mark.parametrize(("number", "count"), [(150, 16), (40, 7), (9, 8), (5, 1)])
def test_one_image_is_chosen_of_each_stretch_of_the_data(number, count):
    chosen = [image_id // 10 for image_id in ids(spread_evenly(records(number), count))]
    assert [int((index + 0.5) * count / number) for index in chosen] == list(range(count))


def test_all_images_are_chosen_if_there_are_fewer():
    assert ids(spread_evenly(records(3), 16)) == [0, 10, 20]


def test_the_images_of_a_folder_are_sorted_by_name(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden"):
        (tmp_path / name).touch()
    found = folder_records(str(tmp_path))
    assert ids(found) == ["a.jpg", "b.PNG"]
    assert found[0]["file_name"] == str(tmp_path / "a.jpg")


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--input '.*/absent' is not a folder; give one that"):
        folder_records(str(tmp_path / "absent"))


def test_a_folder_without_images_says_what_counts_as_one(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"--input '.*' holds no images; files that end in .bmp,"):
        folder_records(str(tmp_path))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xd8\xff no jpeg", b"\x89PNG\r\n\x1a\n"])
def test_an_image_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"image '.*a.jpg' cannot be read \(.*\); restore the fil"):
        read_rgb(str(path))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_kind_of_image_is_read_as_rgb(tmp_path, mode):
    path = tmp_path / "a.tif"
    Image.new(mode, (7, 5)).save(path)
    image = read_rgb(str(path))
    assert image.shape == (5, 7, 3) and image.dtype == np.uint8


def test_predictions_come_at_the_size_that_is_drawn():
    """The model is asked for it, so that no mask of a large photograph is ever made."""
    asked = []

    def model(batch):
        asked.extend(batch)
        return [{"instances": Instances((batch[0]["height"], batch[0]["width"]))}]

    found = predict(model, lambda record: {**record, "height": 9000}, {"image_id": 1}, 45, 60)
    assert asked == [{"image_id": 1, "height": 45, "width": 60}]
    assert found.image_size == (45, 60)


def test_predictions_at_the_threshold_are_drawn_and_lower_ones_are_not():
    instances = Instances((4, 5))
    instances.scores = torch.tensor([0.75, 0.5, 0.25])
    instances.pred_classes = torch.tensor([2, 1, 0])
    instances.pred_boxes = Boxes(torch.tensor([[0.0, 1.0, 2.0, 3.0]] * 3))
    instances.pred_masks = torch.rand(3, 4, 5) > 0.5
    found = predicted_objects(instances, 0.5)
    assert [(one.class_index, one.score) for one in found] == [(2, 0.75), (1, 0.5)]
    assert found[0].box == (0, 1, 2, 3)
    np.testing.assert_array_equal(found[1].mask, instances.pred_masks[1].numpy())
    instances.remove("pred_masks")
    assert predicted_objects(instances, 0.5)[0].mask is None
