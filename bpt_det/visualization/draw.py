"""Pictures of masks: objects drawn on an image.

Pictures are RGB arrays (H, W, 3), uint8. Outlines and text are drawn by Detectron2's `Visualizer`.
Not its `overlay_instances`, which fills the holes of a mask and scatters random colors.
"""

from collections.abc import Sequence

import numpy as np

from bpt_det.utils.opencv import cv2  # before detectron2 imports it: explains a missing libGL

# isort: split
from detectron2.utils.visualizer import Visualizer

from .annotations import DrawnObject, resize_object
from .labels import label_text, place_labels

MIN_PANEL_SIDE = 512  # pixels along the longest side
MAX_PANEL_SIDE = 1024
_MANY_OBJECTS = 15  # more than these get smaller labels
_MIN_POINTS = 5  # of a label
_STRIPE = 6  # pixels

# Sasha Trubetskoy's list of colors that are easy to tell apart, without the very dark and pale.
_PALETTE = (
    "e6194b 3cb44b ffe119 4363d8 f58231 f032e6 42d4f4 bfef45 911eb4 fabed4 469990 9a6324 aaffc3 "
    "808000 ffd8b1 dcbeff"
).split()


def class_color(class_index: int, thing_colors: Sequence | None = None) -> np.ndarray:
    """Return the RGB color of a class in [0, 1].

    Args:
        class_index: contiguous index of the class.
        thing_colors: the dataset's own colors, RGB in [0, 255]; None takes a palette of 16.
    """
    if thing_colors is not None and class_index < len(thing_colors):
        return np.asarray(thing_colors[class_index]) / 255
    code = _PALETTE[class_index % len(_PALETTE)]
    return np.array(list(bytes.fromhex(code))) / 255


def draw_objects(
    image: np.ndarray,
    objects: Sequence[DrawnObject],
    thing_classes: Sequence[str] | None = None,
    thing_colors: Sequence | None = None,
    *,
    magnify: bool = True,
) -> np.ndarray:
    """Draw objects on an image, the large ones first, and return the panel.

    Without objects the panel is the (magnified) image.

    Args:
        image: RGB (H, W, 3), uint8.
        objects: in pixels of the image.
        thing_classes, thing_colors: names and colors of the classes, see `class_color`.
        magnify: an image under `MIN_PANEL_SIDE` is magnified by a whole number until its longest
            side reaches it, which keeps labels legible; False keeps the size of the image.
    """
    old_size = image.shape[:2]
    factor = -(-MIN_PANEL_SIDE // max(old_size)) if magnify else 1
    size = height, width = old_size[0] * factor, old_size[1] * factor
    if factor > 1:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    objects = [resize_object(one, old_size, size) for one in objects]
    objects = sorted(objects, key=_area, reverse=True)
    colors = [class_color(one.class_index, thing_colors) for one in objects]
    canvas, gray = image.copy(), image.mean(axis=2)
    if not objects:
        return canvas  # some versions of Matplotlib shift an image by a pixel
    for one, color in zip(objects, colors, strict=True):
        _fill(canvas, one, color, gray)
    visualizer = Visualizer(canvas)
    for one, color in zip(objects, colors, strict=True):
        _outline(visualizer, one, color)
    points = max(_MIN_POINTS, max(height, width) / (54 if len(objects) <= _MANY_OBJECTS else 80))
    texts = [label_text(one, thing_classes) for one in objects]
    places = place_labels(objects, texts, points, height, width)
    for color, text, place in zip(colors, texts, places, strict=True):
        visualizer.draw_text(
            text, place, font_size=points, color=0.5 + color / 2, horizontal_alignment="left"
        )
    return visualizer.get_output().get_image()


def _area(one: DrawnObject) -> float:
    if one.mask is not None:
        return float(one.mask.sum())
    return (one.box[2] - one.box[0]) * (one.box[3] - one.box[1])


def _fill(image: np.ndarray, one: DrawnObject, color: np.ndarray, gray: np.ndarray) -> None:
    """Tint the pixels of a mask in place; the image's own color would hide that of the class."""
    if one.mask is None:
        return
    fill = one.mask
    if one.is_crowd:
        fill = fill & (np.indices(fill.shape).sum(axis=0) // _STRIPE % 2 == 0)
    image[fill] = 0.5 * gray[fill][:, None] + 0.5 * 255 * color


def _outline(visualizer: Visualizer, one: DrawnObject, color: np.ndarray) -> None:
    """Draw the border of a mask and of its holes; an object without a mask gets its box."""
    if one.mask is None or not one.mask.any():
        visualizer.draw_box(one.box, alpha=1, edge_color=color)
        return
    pixels = one.mask.astype(np.uint8)
    contours, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        visualizer.draw_polygon(contour[:, 0] + 0.5, color, alpha=0)
