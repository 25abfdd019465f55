"""Panels: annotations drawn on an image, with outlines, tinted masks and labels.

Pictures are RGB arrays (H, W, 3), uint8. Outlines and text are drawn by Detectron2's `Visualizer`.
Not its `overlay_instances`, which fills the holes of a mask and scatters random colors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bpt_det.utils.opencv import cv2

from .annotations import Annotation, Box, mask_contours, mask_pixels, mask_share, scale_annotation
from .fonts import font_families
from .labels import label_text, place_labels
from .style import DrawStyle

if TYPE_CHECKING:
    from detectron2.utils.visualizer import Visualizer

MIN_PANEL_SIDE = 512  # pixels along the longest side
MAX_PANEL_SIDE = 1024
_MANY_ANNOTATIONS = 15  # more than these get smaller labels
_MIN_POINTS = 5  # of a label
_STRIPE = 6  # pixels
_POINT = 100 / 72  # pixels in a typographic point at Matplotlib's 100 dpi

# Share of white, or of black where negative, in the color of each object of a class.
_TONES = (0, 0.4, -0.35, 0.2, -0.5, 0.55, -0.2)
# Sasha Trubetskoy's list of colors that are easy to tell apart, without the very dark and pale.
_PALETTE = (
    "e6194b 3cb44b ffe119 4363d8 f58231 f032e6 42d4f4 bfef45 911eb4 fabed4 469990 9a6324 aaffc3 "
    "808000 ffd8b1 dcbeff"
).split()


def class_color(class_index: int, class_colors: Sequence | None = None) -> np.ndarray:
    """Return the RGB color of a class in [0, 1].

    Args:
        class_index: contiguous index of the class.
        class_colors: the dataset's own colors, RGB in [0, 255]; None takes a palette of 16.
    """
    if class_colors is not None and class_index < len(class_colors):
        return np.asarray(class_colors[class_index]) / 255
    code = _PALETTE[class_index % len(_PALETTE)]
    return np.array(list(bytes.fromhex(code))) / 255


def instance_colors(
    class_indexes: Sequence[int], class_colors: Sequence | None = None
) -> list[np.ndarray]:
    """Return the RGB color of each object in [0, 1]: a tone of its class's, so neighbors differ.

    Args:
        class_indexes: of the objects; the first of a class has the color of the class.
        class_colors: see `class_color`.
    """
    counts: Counter[int] = Counter()
    colors = []
    for class_index in class_indexes:
        tone = _TONES[counts[class_index] % len(_TONES)]
        counts[class_index] += 1
        end = 1.0 if tone > 0 else 0.0  # white or black
        colors.append(class_color(class_index, class_colors) * (1 - abs(tone)) + end * abs(tone))
    return colors


def draw_annotations(
    image: np.ndarray,
    annotations: Sequence[Annotation],
    class_names: Sequence[str] | None = None,
    class_colors: Sequence | None = None,
    *,
    magnify: bool = True,
    style: DrawStyle | None = None,
) -> np.ndarray:
    """Draw annotations on an image, the large ones first, and return the panel.

    Without annotations the panel is the (magnified) image.

    Args:
        image: RGB (H, W, 3), uint8.
        annotations: in pixels of the image.
        class_names: by class index; classes without a name are shown by number.
        class_colors: see `class_color`.
        magnify: an image under `MIN_PANEL_SIDE` is magnified by an integer until its longest side
            reaches it, which keeps labels legible; False keeps the size of the image.
        style: None takes the default one.
    """
    style = style or DrawStyle()
    old_size = image.shape[:2]
    factor = -(-MIN_PANEL_SIDE // max(old_size)) if magnify else 1
    size = height, width = old_size[0] * factor, old_size[1] * factor
    if factor > 1:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    canvas = image.copy()
    if not annotations:
        return canvas  # some versions of Matplotlib shift an image by a pixel
    resized = [scale_annotation(annotation, old_size, size) for annotation in annotations]
    resized = sorted(resized, key=lambda each: _share(each, size), reverse=True)
    colors = instance_colors([annotation.class_index for annotation in resized], class_colors)
    gray = image.mean(axis=2)
    from detectron2.utils.visualizer import Visualizer  # imports Matplotlib: see `figures`

    # One mask at a time is held as pixels.
    shapes = [
        _fill(canvas, annotation, color, gray, style.opacity)
        for annotation, color in zip(resized, colors, strict=True)
    ]
    visualizer = Visualizer(canvas)
    for shape, color in zip(shapes, colors, strict=True):
        _outline(visualizer, shape, color, with_box=style.boxes)
    if style.line_width is not None:
        for patch in visualizer.output.ax.patches:
            patch.set_linewidth(style.line_width / _POINT)
    if style.labels != "none":
        _write_labels(visualizer, resized, shapes, colors, class_names, style)
    return visualizer.get_output().get_image()


@dataclass(frozen=True)
class _Shape:
    """What outline and label take of an object in a panel.

    Args:
        box: XYXY, pixels.
        contours: of its mask and of the holes in it, (N, 2) as (x, y); none without a mask.
        center: (x, y) of the label: the median of the mask, else the middle of the box.
    """

    box: Box
    contours: Sequence[np.ndarray]
    center: tuple[float, float]


def _write_labels(
    visualizer: Visualizer,
    annotations: Sequence[Annotation],
    shapes: Sequence[_Shape],
    colors: Sequence[np.ndarray],
    class_names: Sequence[str] | None,
    style: DrawStyle,
) -> None:
    height, width = visualizer.img.shape[:2]
    divisor = 54 if len(annotations) <= _MANY_ANNOTATIONS else 80
    points = max(_MIN_POINTS, max(height, width) / divisor)
    if style.font_size is not None:
        points = style.font_size / _POINT
    if style.labels == "name":
        annotations = [replace(annotation, score=None) for annotation in annotations]
    texts = [label_text(annotation, class_names) for annotation in annotations]
    places = [(shape.box, shape.center) for shape in shapes]
    positions = place_labels(places, texts, points, height, width)
    for color, text, position in zip(colors, texts, positions, strict=True):
        visualizer.draw_text(
            text, position, font_size=points, color=0.5 + color / 2, horizontal_alignment="left"
        )
    for drawn in visualizer.output.ax.texts:
        drawn.set_parse_math(False)  # a name may have a $
        drawn.set_fontfamily(font_families(drawn.get_text()))


def _share(annotation: Annotation, size: tuple[int, int]) -> float:
    """Return the share of a panel (H, W) that an object covers."""
    if annotation.mask is not None:
        return mask_share(annotation.mask)
    left, top, right, bottom = annotation.box
    return (right - left) * (bottom - top) / (size[0] * size[1])


def _fill(
    image: np.ndarray, annotation: Annotation, color: np.ndarray, gray: np.ndarray, opacity: float
) -> _Shape:
    """Tint the pixels of a mask in place; the image's own color would hide that of the class."""
    left, top, right, bottom = annotation.box
    middle = ((left + right) / 2, (top + bottom) / 2)
    if annotation.mask is None:
        return _Shape(annotation.box, (), middle)
    mask = mask_pixels(annotation.mask, *image.shape[:2])
    if not mask.any():
        return _Shape(annotation.box, (), middle)
    fill = mask
    if annotation.is_crowd:
        fill = mask & (np.indices(mask.shape).sum(axis=0) // _STRIPE % 2 == 0)
    if opacity:
        image[fill] = (1 - opacity) * gray[fill][:, None] + opacity * 255 * color
    center = (_median(mask.sum(axis=0)), _median(mask.sum(axis=1)))
    return _Shape(annotation.box, mask_contours(mask), center)


def _median(counts: np.ndarray) -> float:
    """Return the median index, each counting so many times."""
    ends = np.cumsum(counts)
    middles = np.searchsorted(ends, [(ends[-1] - 1) // 2, ends[-1] // 2], side="right")
    return float(middles.mean())


def _outline(visualizer: Visualizer, shape: _Shape, color: np.ndarray, *, with_box: bool) -> None:
    """Draw the border of a mask and of its holes, or the box of an object without a mask."""
    if with_box or not shape.contours:
        visualizer.draw_box(shape.box, alpha=1, edge_color=color)
    for contour in shape.contours:
        visualizer.draw_polygon(contour + 0.5, color, alpha=0)
