"""Pictures of masks: objects drawn on an image, panels side by side, a contact sheet.

Pictures are RGB arrays (H, W, 3), uint8. Outlines and text are drawn by Detectron2's `Visualizer`.
Not its `overlay_instances`, which fills the holes of a mask and scatters random colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np

from bpt_det.opencv import cv2  # before detectron2 imports it: explains a missing libGL

# isort: split
from detectron2.structures import BoxMode
from detectron2.utils.visualizer import GenericMask, Visualizer
from PIL import Image, ImageDraw, ImageFont

MIN_PANEL_SIDE = 512  # pixels along the longest side
MAX_PANEL_SIDE = 1024
_SHEET_WIDTH = 2900
_GAP = 8  # pixels between panels and tiles
_MANY_OBJECTS = 15  # more than these get smaller labels
_STRIPE = 6  # pixels
_POINT = 100 / 72  # pixels in a typographic point at Matplotlib's 100 dpi

# Sasha Trubetskoy's list of colours that are easy to tell apart, without the very dark and pale.
_PALETTE = (
    "e6194b 3cb44b ffe119 4363d8 f58231 f032e6 42d4f4 bfef45 911eb4 fabed4 469990 9a6324 aaffc3 "
    "808000 ffd8b1 dcbeff"
).split()


@dataclass(frozen=True)
class DrawnObject:
    """One object, annotated or predicted.

    Args:
        class_index: contiguous index of its class.
        box: XYXY in pixels of the image.
        mask: bool (H, W); None draws the box.
        score: in [0, 1]; None for ground truth.
        is_crowd: a region of objects that were not separated; drawn striped.
    """

    class_index: int
    box: tuple[float, float, float, float]
    mask: np.ndarray | None = None
    score: float | None = None
    is_crowd: bool = False


def ground_truth_objects(record: dict, height: int, width: int) -> list[DrawnObject]:
    """Return the annotations of a record of Detectron2's standard form at another image size."""
    scale = np.tile([width / record["width"], height / record["height"]], 2)
    objects = []
    for annotation in record.get("annotations", ()):
        box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
        mask = None
        if annotation.get("segmentation"):
            mask = GenericMask(annotation["segmentation"], record["height"], record["width"]).mask
            mask = _resize_mask(mask.astype(bool), height, width)
        objects.append(
            DrawnObject(
                class_index=annotation["category_id"],
                box=tuple(np.asarray(box) * scale),
                mask=mask,
                is_crowd=bool(annotation.get("iscrowd", 0)),
            )
        )
    return objects


def class_color(class_index: int, thing_colors: Sequence | None = None) -> np.ndarray:
    """Return the RGB colour of a class in [0, 1].

    Args:
        class_index: contiguous index of the class.
        thing_colors: the data set's own colours, RGB in [0, 255]; None takes a palette of 16.
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
) -> np.ndarray:
    """Draw objects on an image, the large ones first, and return the panel.

    An image under `MIN_PANEL_SIDE` is magnified by a whole number until its longest side reaches
    it. Without objects the panel is the (magnified) image.
    """
    factor = -(-MIN_PANEL_SIDE // max(image.shape[:2]))
    height, width = (side * factor for side in image.shape[:2])
    if factor > 1:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    objects = sorted((_magnify(one, factor) for one in objects), key=_area, reverse=True)
    colors = [class_color(one.class_index, thing_colors) for one in objects]
    canvas, gray = image.copy(), image.mean(axis=2)
    if not objects:
        return canvas  # some versions of Matplotlib shift an image by a pixel
    for one, color in zip(objects, colors, strict=True):
        _fill(canvas, one, color, gray)
    visualizer = Visualizer(canvas)
    for one, color in zip(objects, colors, strict=True):
        _outline(visualizer, one, color)
    points = max(height, width) / (54 if len(objects) <= _MANY_OBJECTS else 80)
    texts = [_label(one, thing_classes) for one in objects]
    places = _place_labels(objects, texts, points, height, width)
    for color, text, place in zip(colors, texts, places, strict=True):
        visualizer.draw_text(
            text, place, font_size=points, color=0.5 + color / 2, horizontal_alignment="left"
        )
    return visualizer.get_output().get_image()


def side_by_side(panels: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Return panels in one row, each under its title; narrow ones are padded to their title."""
    font_size = max(max(panel.shape[:2]) for panel in panels) // 28
    strip = 2 * font_size
    widths = [
        max(panel.shape[1], _text_width(title, font_size) + _GAP)
        for panel, title in zip(panels, titles, strict=True)
    ]
    height = max(panel.shape[0] for panel in panels)
    row = _blank(strip + height, sum(widths) + _GAP * (len(panels) - 1))
    left = 0
    for panel, title, width in zip(panels, titles, widths, strict=True):
        row[strip : strip + panel.shape[0], left : left + panel.shape[1]] = panel
        row = _write(row, title, (left + _GAP // 2, font_size // 3), font_size)
        left += width + _GAP
    return row


def contact_sheet_tile(picture: np.ndarray, num_pictures: int) -> np.ndarray:
    """Shrink a picture to the tile it gets on a contact sheet of so many pictures."""
    columns = _num_columns(num_pictures)
    return shrink(picture, (_SHEET_WIDTH - _GAP * (columns + 1)) // columns)


def contact_sheet(tiles: Sequence[np.ndarray], labels: Sequence[str]) -> np.ndarray:
    """Return tiles in rows, each under its label; a label that is too long is cut at its start."""
    columns = min(_num_columns(len(tiles)), len(tiles))
    width = max(tile.shape[1] for tile in tiles)
    font_size = 22
    strip = 2 * font_size  # holds the label
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [strip + max(tile.shape[0] for tile in row) for row in rows]
    sheet = _blank(sum(heights) + _GAP * len(rows), columns * (width + _GAP) + _GAP)
    for index, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        row, column = divmod(index, columns)
        top = sum(heights[:row]) + _GAP * row
        left = _GAP + column * (width + _GAP)
        sheet[top + strip : top + strip + tile.shape[0], left : left + tile.shape[1]] = tile
        header = _write(
            _blank(strip, width), _shorten(label, width, font_size), (0, font_size // 3), font_size
        )
        sheet[top : top + strip, left : left + width] = header
    return sheet


def shrink(picture: np.ndarray, longest: int) -> np.ndarray:
    """Return a picture with no side over ``longest``, each pixel the mean of those it replaces."""
    scale = longest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    if mask.shape == (height, width):
        return mask
    pixels = mask.astype(np.uint8)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def _magnify(one: DrawnObject, factor: int) -> DrawnObject:
    mask = one.mask
    if mask is not None:
        mask = _resize_mask(mask, mask.shape[0] * factor, mask.shape[1] * factor)
    return replace(one, mask=mask, box=tuple(factor * side for side in one.box))


def _area(one: DrawnObject) -> float:
    if one.mask is not None:
        return float(one.mask.sum())
    return (one.box[2] - one.box[0]) * (one.box[3] - one.box[1])


def _fill(image: np.ndarray, one: DrawnObject, color: np.ndarray, gray: np.ndarray) -> None:
    """Tint the pixels of a mask in place; the image's own colour would hide that of the class."""
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
    contours, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        visualizer.draw_polygon(contour[:, 0] + 0.5, color, alpha=0)


def _label(one: DrawnObject, thing_classes: Sequence[str] | None) -> str:
    """Return the class and score; the class's number where its name is not known."""
    is_named = thing_classes is not None and one.class_index < len(thing_classes)
    name = thing_classes[one.class_index] if is_named else f"class {one.class_index}"
    if one.score is not None:
        name += f" {one.score:.0%}"
    return f"{name} (crowd)" if one.is_crowd else name


def _place_labels(
    objects: Sequence[DrawnObject], texts: Sequence[str], points: float, height: int, width: int
) -> list[tuple[float, float]]:
    """Return (x, y) of the top left corner of each label, inside the panel.

    The small objects choose first. Each takes the first of a few places near it that overlaps no
    earlier label, or else the one that overlaps them least.
    """
    taken: list[tuple[float, float, float, float]] = []
    places = []
    for one, text in zip(reversed(objects), reversed(texts), strict=True):
        label_width = _text_width(text, points * _POINT) + 2 * _POINT
        label_height = 1.4 * points * _POINT
        boxes = []
        for x, y in _candidates(one, label_width, label_height):
            x = max(2, min(x, width - label_width - 2))
            y = max(2, min(y, height - label_height - 2))
            boxes.append((x, y, x + label_width, y + label_height))
        best = min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(best)
        places.append(best[:2])
    return places[::-1]


def _candidates(one: DrawnObject, width: float, height: float) -> list[tuple[float, float]]:
    left, top, right, bottom = one.box
    center_x, center_y = (left + right) / 2, (top + bottom) / 2
    if one.mask is not None and one.mask.any():
        center_y, center_x = np.median(one.mask.nonzero(), axis=1)
    center = (center_x - width / 2, center_y - height / 2)
    inside = [center, (left, top), (left, bottom - height), (right - width, top)]
    outside = [(center[0], top - height), (center[0], bottom)]
    outside += [(right, center[1]), (left - width, center[1])]
    is_roomy = right - left > 1.2 * width and bottom - top > 3 * height
    return inside + outside if is_roomy else [*outside, center]


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _num_columns(num_pictures: int) -> int:
    return max(3, round(np.sqrt(num_pictures / 2)))  # a tile of two panels is wide


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, dtype=np.uint8)


@lru_cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    """The font that Matplotlib, and so `Visualizer`, writes with."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)


def _text_width(text: str, size: float) -> int:
    """Width in pixels."""
    return int(np.ceil(_font(size).getlength(text)))


def _write(picture: np.ndarray, text: str, place: tuple[int, int], size: int) -> np.ndarray:
    drawing = Image.fromarray(picture)
    ImageDraw.Draw(drawing).text(place, text, fill="black", font=_font(size))
    return np.array(drawing)


def _shorten(text: str, width: int, size: int) -> str:
    shortened = text
    while text and _text_width(shortened, size) > width:
        text = text[1:]
        shortened = f"…{text}"
    return shortened
