"""Panels: colors, fills, outlines, labels and sizes of drawn annotations."""

import itertools
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from detectron2.utils.visualizer import Visualizer

from bpt_det.data.run_length_masks import RunLengthMasks
from bpt_det.utils.errors import InputError
from bpt_det.utils.opencv import cv2
from bpt_det.visualization import draw
from bpt_det.visualization.annotations import Annotation, mask_pixels
from bpt_det.visualization.draw import (
    MIN_PANEL_SIDE,
    DrawStyle,
    class_color,
    draw_annotations,
    instance_colors,
)

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
    return Annotation(class_index, (left, top, right, bottom), mask, **fields)


def magnified(mask):
    return np.kron(mask, np.ones((FACTOR, FACTOR), dtype=bool))


def fill_color(class_index, class_colors=None):
    return 0.5 * GRAY + 0.5 * 255 * class_color(class_index, class_colors)


def assert_is_color(pixel, color):
    np.testing.assert_allclose(pixel, color, atol=2)


@pytest.mark.parametrize("size", [(48, 64), (512, 200), (300, 170), (700, 1024), (3, 511)])
def test_the_longest_side_of_a_panel_is_legible(size):
    panel = draw_annotations(np.zeros((*size, 3), dtype=np.uint8), [])
    assert MIN_PANEL_SIDE <= max(panel.shape[:2]) <= 1024
    assert panel.shape[0] * size[1] == panel.shape[1] * size[0]


def test_without_objects_a_large_image_is_drawn_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (520, 77, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw_annotations(image, []), image)


def test_only_the_mask_and_its_border_change(image, texts):
    ring = rectangle(5, 6, 40, 50)
    ring.mask[15:30, 20:40] = False
    changed = (draw_annotations(image, [ring]) != draw_annotations(image, [])).any(axis=2)
    mask = magnified(ring.mask)
    border = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert changed[mask].all()
    assert not changed[~border].any()


def test_a_class_has_the_same_color_in_every_panel(image, texts):
    truth = [rectangle(2, 2, 20, 20, class_index=7), rectangle(30, 30, 44, 60, class_index=2)]
    predicted = [rectangle(4, 4, 18, 18, class_index=7, score=0.6)]
    for annotations in (truth, predicted):
        pixel = draw_annotations(image, annotations)[10 * FACTOR, 10 * FACTOR]
        assert_is_color(pixel, fill_color(7))


def test_the_color_of_the_image_does_not_hide_that_of_the_class(texts):
    pixels = []
    for color in ([200, 10, 60], [60, 200, 10]):  # of the same mean
        image = np.full((HEIGHT, WIDTH, 3), color, dtype=np.uint8)
        pixels.append(draw_annotations(image, [rectangle(4, 4, 30, 30)])[100, 100])
    np.testing.assert_array_equal(*pixels)


def test_the_colors_of_the_dataset_are_used(image, texts):
    class_colors = [[1, 2, 3], [250, 100, 0]]
    annotation = rectangle(4, 4, 30, 30, class_index=1)
    panel = draw_annotations(image, [annotation], class_colors=class_colors)
    assert_is_color(panel[100, 100], [0.5 * (GRAY + c) for c in class_colors[1]])


def test_the_first_sixteen_classes_differ_in_color():
    colors = np.array([class_color(index) for index in range(16)])
    distances = np.abs(colors[:, None] - colors[None]).sum(axis=2)
    assert (distances[~np.eye(16, dtype=bool)] > 0.25).all()


@pytest.mark.parametrize("order", [1, -1])
def test_a_small_object_is_drawn_over_a_large_one(image, texts, order):
    annotations = [rectangle(2, 2, 46, 60, class_index=0), rectangle(10, 10, 30, 30, class_index=3)]
    panel = draw_annotations(image, annotations[::order])
    assert_is_color(panel[20 * FACTOR, 20 * FACTOR], fill_color(3))


def test_a_crowd_region_is_striped_and_named(image, texts):
    crowd = rectangle(4, 4, 40, 50, is_crowd=True)
    inside = draw_annotations(image, [crowd], ["leaf"])[6 * FACTOR : 38 * FACTOR, 6 * FACTOR : 380]
    is_plain = (inside == GRAY).all(axis=2)
    assert 0.4 < is_plain.mean() < 0.6
    assert [text for text, _, _ in texts] == ["leaf (crowd)"]


def test_a_label_has_class_and_score(image, texts):
    annotations = [rectangle(2, 2, 20, 20, class_index=1, score=0.973), rectangle(30, 30, 40, 40)]
    draw_annotations(image, annotations, ["disc", "ring"])
    assert [text for text, _, _ in texts] == ["ring 97%", "disc"]


def test_a_long_name_is_cut(image, texts):
    draw_annotations(image, [rectangle(2, 2, 20, 20, score=0.5)], ["x" * 200])
    assert [text for text, _, _ in texts] == [f"{'x' * 39}… 50%"]


def test_a_class_without_a_name_is_shown_by_its_number(image, texts):
    draw_annotations(image, [rectangle(2, 2, 20, 20, class_index=1)])
    draw_annotations(image, [rectangle(2, 2, 20, 20, class_index=4)], ["disc"])
    assert [text for text, _, _ in texts] == ["class 1", "class 4"]


def test_labels_lie_inside_the_panel_and_apart(image, texts):
    corners = [(0, 0), (0, 58), (42, 0), (42, 58)]
    annotations = [rectangle(y, x, y + 6, x + 6, score=1) for y, x in corners]
    annotations += [rectangle(20, 30, 26, 36, score=1)] * 4
    draw_annotations(image, annotations, ["triangle"])
    places = np.array([place for _, place, _ in texts])
    height, width = 15, 70  # pixels, less than a label takes
    assert (places >= 0).all()
    assert (places[:, 0] <= WIDTH * FACTOR - width).all()
    assert (places[:, 1] <= HEIGHT * FACTOR - height).all()
    for index, place in enumerate(places):
        gaps = np.abs(np.delete(places, index, axis=0) - place)
        assert ((gaps[:, 0] >= width) | (gaps[:, 1] >= height)).all()


def test_an_object_without_a_mask_gets_its_box(image, texts):
    annotation = Annotation(0, (10, 10, 40, 30))
    changed = (draw_annotations(image, [annotation]) != GRAY).any(axis=2)
    assert changed[10 * FACTOR, 20 * FACTOR] and changed[20 * FACTOR, 40 * FACTOR]
    assert not changed[20 * FACTOR, 20 * FACTOR]


@pytest.mark.parametrize("size", [(48, 64), (1, 1), (600, 30)])
def test_without_magnification_the_picture_has_the_size_of_the_image(size):
    box = (0.0, 0.0, float(size[1]), float(size[0]))
    image = np.full((*size, 3), GRAY, dtype=np.uint8)
    picture = draw_annotations(image, [Annotation(0, box, score=0.5)], ["leaf"], magnify=False)
    assert picture.shape == (*size, 3)
    np.testing.assert_array_equal(draw_annotations(image, [], magnify=False), image)


def test_objects_of_a_class_have_tones_of_its_color():
    colors = instance_colors([2, 0, 2, 2, 0])
    np.testing.assert_array_equal(colors[0], class_color(2))
    np.testing.assert_array_equal(colors[1], class_color(0))
    for first, second in itertools.combinations(colors, 2):
        assert np.abs(first - second).max() > 0.1
    assert all(0 <= color.min() and color.max() <= 1 for color in colors)


def test_labels_can_be_names_alone_or_left_out(image, texts):
    annotation = rectangle(10, 10, 30, 40, score=0.8)
    for labels in ("score", "name", "none"):
        draw_annotations(image, [annotation], ["cat"], style=DrawStyle(labels=labels))
    assert [text for text, _, _ in texts] == ["cat 80%", "cat"]


def test_the_font_is_as_large_as_asked_for(image, texts):
    style = DrawStyle(font_size=20)
    draw_annotations(image, [rectangle(10, 10, 30, 40)], ["cat"], style=style)
    assert texts[0][2]["font_size"] * 100 / 72 == pytest.approx(20)


@pytest.mark.parametrize("opacity", [0, 0.25, 1])
def test_the_opacity_is_that_of_the_color_over_the_image(image, texts, opacity):
    style = DrawStyle(opacity=opacity)
    panel = draw_annotations(image, [rectangle(10, 10, 30, 40)], style=style)
    expected = (1 - opacity) * GRAY + opacity * 255 * class_color(0)
    assert_is_color(panel[20 * FACTOR, 25 * FACTOR], expected)


def test_boxes_are_drawn_beside_masks_where_asked_for(image, texts):
    annotation = rectangle(10, 10, 30, 40)
    annotation.mask[10:20, 10:25] = False  # the corner of the box lies outside of the mask
    place = (10 * FACTOR, slice(12 * FACTOR, 24 * FACTOR))
    for boxes in (False, True):
        panel = draw_annotations(image, [annotation], style=DrawStyle(boxes=boxes))
        assert (panel[place] != GRAY).any() == boxes


def test_lines_are_as_wide_as_asked_for(image, texts):
    annotation = Annotation(0, (10, 10, 50, 40))
    widths = []
    for width in (1, 9):
        panel = draw_annotations(image, [annotation], style=DrawStyle(line_width=width))
        row = panel[25 * FACTOR, : 20 * FACTOR].astype(float)
        widths.append(np.abs(row - GRAY).sum() / np.abs(255 * class_color(0) - GRAY).sum())
    assert widths == pytest.approx([1, 9], abs=0.6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": "all"}, "labels must be out of score, name, none, got 'all'"),
        ({"font_size": 0}, r"font_size must be in \(0, 500\] pixels, got 0"),
        ({"line_width": 501}, r"line_width must be in \(0, 500\] pixels, got 501"),
        ({"opacity": 1.1}, r"opacity must be in \[0, 1\], got 1.1"),
    ],
)
def test_a_style_out_of_range_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        DrawStyle(**values)


def test_codes_are_drawn_as_their_pixels_one_at_a_time(image, monkeypatch):
    drawn = [rectangle(4 * i, 5 * i, 4 * i + 9, 5 * i + 20, class_index=i) for i in range(8)]
    masks = torch.from_numpy(np.stack([annotation.mask for annotation in drawn]))
    codes = RunLengthMasks.from_pixels(masks).codes
    coded = [replace(a, mask=code) for a, code in zip(drawn, codes, strict=True)]
    decoded = []

    def decode(*arguments):
        assert sum(reference() is not None for reference in decoded) <= 1
        pixels = mask_pixels(*arguments)
        decoded.append(weakref.ref(pixels))
        return pixels

    monkeypatch.setattr(draw, "mask_pixels", decode)
    panel = draw_annotations(image, coded)
    assert len(decoded) == 8
    np.testing.assert_array_equal(panel, draw_annotations(image, drawn))
