import numpy as np
import pycocotools.mask as mask_util
import pytest
from detectron2.structures import BoxMode
from detectron2.utils.visualizer import Visualizer

from bpt_det.detection.visualization import (
    MIN_PANEL_SIDE,
    DrawnObject,
    class_color,
    contact_sheet,
    contact_sheet_tile,
    draw_objects,
    ground_truth_objects,
    side_by_side,
)
from bpt_det.opencv import cv2

GRAY = 90
HEIGHT, WIDTH = 48, 64  # magnified 8 times
FACTOR = 8


@pytest.fixture
def image():
    return np.full((HEIGHT, WIDTH, 3), GRAY, dtype=np.uint8)


@pytest.fixture
def texts(monkeypatch):
    """What is written, with its place; nothing reaches the picture."""
    written = []
    monkeypatch.setattr(
        Visualizer,
        "draw_text",
        lambda self, text, position, **style: written.append((text, position, style)),
    )
    return written


def rectangle(top, left, bottom, right, class_index=0, **fields):
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return DrawnObject(class_index, (left, top, right, bottom), mask, **fields)


def magnified(mask):
    return np.kron(mask, np.ones((FACTOR, FACTOR), dtype=bool))


def fill_color(class_index, thing_colors=None):
    return 0.5 * GRAY + 0.5 * 255 * class_color(class_index, thing_colors)


def assert_is_color(pixel, color):
    np.testing.assert_allclose(pixel, color, atol=2)


@pytest.mark.parametrize("size", [(48, 64), (512, 200), (300, 170), (700, 1024), (3, 511)])
def test_the_longest_side_of_a_panel_is_legible(size):
    panel = draw_objects(np.zeros((*size, 3), dtype=np.uint8), [])
    assert MIN_PANEL_SIDE <= max(panel.shape[:2]) <= 1024
    assert panel.shape[0] * size[1] == panel.shape[1] * size[0]


def test_without_objects_a_large_image_is_drawn_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (520, 77, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw_objects(image, []), image)


def test_only_the_mask_and_its_border_change(image, texts):
    ring = rectangle(5, 6, 40, 50)
    ring.mask[15:30, 20:40] = False
    changed = (draw_objects(image, [ring]) != draw_objects(image, [])).any(axis=2)
    mask = magnified(ring.mask)
    border = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert changed[mask].all()
    assert not changed[~border].any()


def test_a_class_has_the_same_color_in_every_panel(image, texts):
    truth = [rectangle(2, 2, 20, 20, class_index=7), rectangle(30, 30, 44, 60, class_index=2)]
    found = [rectangle(4, 4, 18, 18, class_index=7, score=0.6)]
    for objects in (truth, found):
        pixel = draw_objects(image, objects)[10 * FACTOR, 10 * FACTOR]
        assert_is_color(pixel, fill_color(7))


def test_the_color_of_the_image_does_not_hide_that_of_the_class(texts):
    pixels = []
    for color in ([200, 10, 60], [60, 200, 10]):  # of the same mean
        image = np.full((HEIGHT, WIDTH, 3), color, dtype=np.uint8)
        pixels.append(draw_objects(image, [rectangle(4, 4, 30, 30)])[100, 100])
    np.testing.assert_array_equal(*pixels)


def test_the_colors_of_the_data_set_are_used(image, texts):
    thing_colors = [[1, 2, 3], [250, 100, 0]]
    one = rectangle(4, 4, 30, 30, class_index=1)
    panel = draw_objects(image, [one], thing_colors=thing_colors)
    assert_is_color(panel[100, 100], [0.5 * (GRAY + c) for c in thing_colors[1]])


def test_the_first_sixteen_classes_differ_in_color():
    colors = np.array([class_color(index) for index in range(16)])
    distances = np.abs(colors[:, None] - colors[None]).sum(axis=2)
    assert (distances[~np.eye(16, dtype=bool)] > 0.25).all()


@pytest.mark.parametrize("order", [1, -1])
def test_a_small_object_is_drawn_over_a_large_one(image, texts, order):
    objects = [rectangle(2, 2, 46, 60, class_index=0), rectangle(10, 10, 30, 30, class_index=3)]
    panel = draw_objects(image, objects[::order])
    assert_is_color(panel[20 * FACTOR, 20 * FACTOR], fill_color(3))


def test_a_crowd_region_is_striped_and_named(image, texts):
    crowd = rectangle(4, 4, 40, 50, is_crowd=True)
    inside = draw_objects(image, [crowd], ["leaf"])[6 * FACTOR : 38 * FACTOR, 6 * FACTOR : 380]
    is_plain = (inside == GRAY).all(axis=2)
    assert 0.4 < is_plain.mean() < 0.6
    assert [text for text, _, _ in texts] == ["leaf (crowd)"]


def test_a_label_has_class_and_score(image, texts):
    objects = [rectangle(2, 2, 20, 20, class_index=1, score=0.973), rectangle(30, 30, 40, 40)]
    draw_objects(image, objects, ["disc", "ring"])
    assert [text for text, _, _ in texts] == ["ring 97%", "disc"]


def test_a_class_without_a_name_is_shown_by_its_number(image, texts):
    draw_objects(image, [rectangle(2, 2, 20, 20, class_index=1)])
    draw_objects(image, [rectangle(2, 2, 20, 20, class_index=4)], ["disc"])
    assert [text for text, _, _ in texts] == ["class 1", "class 4"]


def test_labels_lie_inside_the_panel_and_apart(image, texts):
    corners = [(0, 0), (0, 58), (42, 0), (42, 58)]
    objects = [rectangle(y, x, y + 6, x + 6, score=1) for y, x in corners]
    objects += [rectangle(20, 30, 26, 36, score=1)] * 4
    draw_objects(image, objects, ["triangle"])
    places = np.array([place for _, place, _ in texts])
    height, width = 15, 70  # pixels, less than a label takes
    assert (places >= 0).all()
    assert (places[:, 0] <= WIDTH * FACTOR - width).all()
    assert (places[:, 1] <= HEIGHT * FACTOR - height).all()
    for index, place in enumerate(places):
        gaps = np.abs(np.delete(places, index, axis=0) - place)
        assert ((gaps[:, 0] >= width) | (gaps[:, 1] >= height)).all()


def test_an_object_without_a_mask_gets_its_box(image, texts):
    one = DrawnObject(0, (10, 10, 40, 30))
    changed = (draw_objects(image, [one]) != GRAY).any(axis=2)
    assert changed[10 * FACTOR, 20 * FACTOR] and changed[20 * FACTOR, 40 * FACTOR]
    assert not changed[20 * FACTOR, 20 * FACTOR]


def record_with(segmentation):
    annotation = {
        "bbox": [10, 5, 20, 8],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 4,
        "segmentation": segmentation,
    }
    return {"height": HEIGHT, "width": WIDTH, "annotations": [annotation]}


def segmentations():
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[5:13, 10:30] = 1
    counts = [HEIGHT * 10 + 5] + [8, HEIGHT - 8] * 20  # column by column
    counts[-1] = HEIGHT * WIDTH - sum(counts[:-1])
    return {
        "polygons": [[10, 5, 30, 5, 30, 13, 10, 13]],
        "run lengths": {"size": [HEIGHT, WIDTH], "counts": counts},
        "compressed run lengths": mask_util.encode(np.asfortranarray(mask)),
    }


@pytest.mark.parametrize("kind", segmentations())
def test_every_form_of_annotation_is_read(kind):
    (one,) = ground_truth_objects(record_with(segmentations()[kind]), HEIGHT, WIDTH)
    expected = rectangle(5, 10, 13, 30, class_index=4)
    assert (one.class_index, one.score, one.is_crowd) == (4, None, False)
    assert one.box == expected.box
    np.testing.assert_array_equal(one.mask, expected.mask)


def test_ground_truth_follows_the_size_of_the_drawn_image():
    record = record_with(segmentations()["polygons"])
    (one,) = ground_truth_objects(record, HEIGHT // 2, WIDTH * 2)
    assert one.box == (20, 2.5, 60, 6.5)
    assert one.mask.shape == (HEIGHT // 2, WIDTH * 2)
    assert not one.mask[:, :20].any() and not one.mask[:, 60:].any() and one.mask[4, 20:60].all()


def test_an_annotation_without_a_mask_keeps_its_box():
    record = record_with(None)
    del record["annotations"][0]["segmentation"]
    (one,) = ground_truth_objects(record, HEIGHT, WIDTH)
    assert one.mask is None and one.box == (10, 5, 30, 13)


def test_panels_stand_side_by_side_whatever_their_number():
    panels = [np.full((200, 300 + 50 * i, 3), 10 * i, dtype=np.uint8) for i in range(3)]
    row = side_by_side(panels, ["ground truth", "prediction", "another model"])
    assert row.shape[1] == sum(panel.shape[1] for panel in panels) + 2 * 8
    for panel in panels:
        assert (row[-200:] == panel[0, 0]).all(axis=2).sum() == panel[..., 0].size


def test_a_title_wider_than_its_panel_is_not_cut():
    panel = np.zeros((600, 20, 3), dtype=np.uint8)
    short, long = (side_by_side([panel], ["i" * length]) for length in (1, 60))
    is_ink = (long[: long.shape[0] - 600] < 128).any(axis=2)
    assert long.shape[1] > short.shape[1]
    assert not is_ink[:, -2:].any()
    assert is_ink[:, -long.shape[1] // 10 :].any()


def test_a_contact_sheet_shows_every_picture_whole():
    sizes = [(30, 200), (50, 180), (20, 200), (70, 60), (10, 150)]
    tiles = [np.full((*size, 3), 20 * i, dtype=np.uint8) for i, size in enumerate(sizes)]
    sheet = contact_sheet(tiles, [""] * len(tiles))
    for tile in tiles:
        assert (sheet == tile[0, 0]).all(axis=2).sum() == tile[..., 0].size


def test_a_contact_sheet_names_its_pictures():
    tiles = [np.zeros((30, 200, 3), dtype=np.uint8)] * 2
    sheet, plain = contact_sheet(tiles, ["a.jpg", "b" * 99]), contact_sheet(tiles, ["", ""])
    columns = np.flatnonzero((sheet != plain).any(axis=(0, 2)))
    assert (columns < 208).any() and (columns > 216).any()


@pytest.mark.parametrize("count", [1, 2, 16, 50, 200])
def test_a_contact_sheet_stays_of_a_sensible_size(count):
    tile = contact_sheet_tile(np.zeros((600, 1200, 3), dtype=np.uint8), count)
    sheet = contact_sheet([tile] * count, ["a.jpg"] * count)
    assert sheet.shape[1] <= 3000
    assert sheet.shape[0] <= 4500


def test_a_tile_is_averaged_over_areas_and_never_enlarged():
    picture = np.zeros((400, 4000, 3), dtype=np.uint8)
    picture[:, ::2] = 100  # one pixel wide stripes would beat with nearest neighbours
    tile = contact_sheet_tile(picture, 1)
    assert tile.shape[1] < 1000 and (np.abs(tile.astype(int) - 50) <= 14).all()
    small = picture[:50, :60]
    assert contact_sheet_tile(small, 1) is small
