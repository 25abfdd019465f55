"""Renderer: an image of textured objects that occlude each other, with their visible masks.

Objects are painted from back to front. One that would hide another too much is drawn again and,
after some tries, left out: a picture holds no object without a mask, and no mask that is too small
to recognize. Sizes are (H, W), pixels unless stated.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bpt_det.utils.opencv import cv2

from .categories import CATEGORIES, Category, Loops
from .textures import distinct_color, second_color, texture

SPLITS = ("train", "val", "test")  # a position in it is part of an image's seed: only append
MIN_IMAGE_SIZE = 64

_SUPERSAMPLING = 4  # sub-pixels along each side of a pixel
_MIN_VISIBLE_PIXELS = 16
_MIN_VISIBLE_FRACTION = 0.4  # of the whole silhouette, outside the image included
_PLACEMENT_TRIES = 12
_CLUSTERED = CATEGORIES[-1]


@dataclass(frozen=True)
class Instance:
    """One annotated object, or one crowd of them.

    Args:
        category_id: its ``id`` in ``CATEGORIES``.
        mask: its visible part, (H, W) bool.
        is_crowd: many objects in one mask.
        visible_fraction: visible part of the whole silhouette, outside the image included; about,
            since a mask has whole pixels.
    """

    category_id: int
    mask: np.ndarray
    is_crowd: bool = False
    visible_fraction: float = 1.0


class RenderedImage(NamedTuple):
    """``image`` is (H, W, 3) uint8, BGR as OpenCV reads and writes it; masks are disjoint."""

    image: np.ndarray
    instances: list[Instance]


class _Stamp(NamedTuple):
    """A silhouette in place: ``coverage`` in [0, 1] on the ``window`` of the canvas it touches."""

    window: tuple[slice, slice]
    coverage: np.ndarray
    total_area: float


class _Canvas:
    """The picture so far: float32 BGR pixels, and for each pixel which object is seen there."""

    def __init__(self, pixels: np.ndarray, colors: list[np.ndarray]) -> None:
        self.pixels = pixels
        self.colors = colors
        self.owner = np.full(pixels.shape[:2], -1)
        self.category_ids: list[int] = []
        self.crowds: list[bool] = []
        self.areas: list[float] = []  # pixels of each object's whole silhouette

    def claim(self, stamps: list[_Stamp], category: Category, is_crowd: bool) -> bool:
        """Make the stamps one new object in front, unless too little of any object would show."""
        owner, new = self.owner.copy(), len(self.areas)
        for stamp in stamps:
            owner[stamp.window][stamp.coverage >= 0.5] = new
        areas = [*self.areas, sum(stamp.total_area for stamp in stamps)]
        required = np.maximum(_MIN_VISIBLE_PIXELS, _MIN_VISIBLE_FRACTION * np.array(areas))
        visible = np.bincount(owner.ravel() + 1, minlength=new + 2)[1:]
        if (visible < required).any():
            return False
        self.owner, self.areas = owner, areas
        self.category_ids.append(category.id)
        self.crowds.append(is_crowd)
        return True

    def paint(self, stamp: _Stamp, surface: np.ndarray) -> None:
        below = self.pixels[stamp.window]
        below += stamp.coverage[..., None] * (surface - below)


def _place(
    loops: Loops, center: np.ndarray, size: float, angle: float, shape: tuple[int, int]
) -> _Stamp | None:
    """Scale, turn and move a unit silhouette; None if it lies outside an image of ``shape``."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = 0.5 * size * np.array([[cos, sin], [-sin, cos]])
    placed = [loop @ turn + center for loop in loops]
    corners = np.concatenate(placed)
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)), shape[::-1]).astype(int)
    if left >= right or top >= bottom:
        return None
    fine = np.zeros(((bottom - top) * _SUPERSAMPLING, (right - left) * _SUPERSAMPLING), np.uint8)
    # Integers are centers for fillPoly and corners here, hence the half.
    points = [np.rint((loop - [left, top]) * _SUPERSAMPLING - 0.5) for loop in placed]
    cv2.fillPoly(fine, [loop.astype(np.int32) for loop in points], 255)
    coverage = cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    areas = [cv2.contourArea(loop.astype(np.float32)) for loop in placed]
    window = slice(top, bottom), slice(left, right)
    return _Stamp(window, coverage.astype(np.float32) / 255, areas[0] - sum(areas[1:]))


def _draw_stamp(
    rng: np.random.Generator,
    category: Category,
    center: np.ndarray,
    size: float,
    shape: tuple[int, int],
) -> _Stamp | None:
    return _place(category.silhouette(rng), center, size, rng.uniform(0, 2 * np.pi), shape)


def _object_colors(rng: np.random.Generator, canvas: _Canvas) -> tuple[np.ndarray, np.ndarray]:
    color = distinct_color(rng, canvas.colors)
    colors = color, second_color(rng, color, rng.uniform(30, 80))
    canvas.colors.extend(colors)
    return colors


def _surface(
    rng: np.random.Generator, stamp: _Stamp, colors: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    return texture(rng, *stamp.coverage.shape, colors, rng.uniform(4, 9))


def _add_object(rng: np.random.Generator, canvas: _Canvas, category: Category, size: float) -> None:
    shape = canvas.owner.shape
    for _ in range(_PLACEMENT_TRIES):
        center = rng.uniform(0.06, 0.94, 2) * shape[::-1]
        stamp = _draw_stamp(rng, category, center, size, shape)
        if stamp is not None and canvas.claim([stamp], category, is_crowd=False):
            canvas.paint(stamp, _surface(rng, stamp, _object_colors(rng, canvas)))
            return


def _add_group(rng: np.random.Generator, canvas: _Canvas, num_members: int, is_crowd: bool) -> None:
    """Many small objects of one kind, close together: one crowd region, or each on its own."""
    shape = canvas.owner.shape
    base = distinct_color(rng, canvas.colors)
    canvas.colors.append(base)
    middle = rng.uniform(0.25, 0.75, 2) * shape[::-1]
    # Room for the members at about half density: each covers some 0.35 size².
    size = rng.uniform(_CLUSTERED.min_size, 1.4 * _CLUSTERED.min_size)
    spread = 0.5 * size * np.sqrt(num_members)
    stamps = []
    for _ in range(num_members):
        angle, radius = rng.uniform(0, 2 * np.pi), spread * np.sqrt(rng.uniform())
        center = middle + radius * np.array([np.cos(angle), np.sin(angle)])
        stamp = _draw_stamp(rng, _CLUSTERED, center, size * rng.uniform(0.9, 1.1), shape)
        if stamp is not None:
            stamps.append(stamp)
    groups = [stamps] if is_crowd else [[stamp] for stamp in stamps]
    for group in groups:
        if not group or not canvas.claim(group, _CLUSTERED, is_crowd):
            continue
        for stamp in group:
            color = np.clip(base + rng.uniform(-60, 60), 0, 255)  # members differ in brightness
            colors = color, second_color(rng, color, rng.uniform(10, 40))
            canvas.paint(stamp, _surface(rng, stamp, colors))


def _draw_shape(rng: np.random.Generator, image_size: int) -> tuple[int, int]:
    """Return (H, W): the longest side is ``image_size``, the other one 3/4, 7/8 or all of it."""
    other = round(image_size * rng.choice([0.75, 0.875, 1.0]))
    return (image_size, other) if rng.random() < 0.5 else (other, image_size)


def _draw_sizes(rng: np.random.Generator, count: int, image_size: int) -> np.ndarray:
    """Return pixels, largest first, so that large objects mostly lie behind small ones."""
    sizes = rng.uniform(12, 0.47 * image_size, count)
    huge = rng.random(count) < 0.06  # a few nearly fill the image
    sizes = np.where(huge, rng.uniform(0.6, 1.1, count) * image_size, sizes)
    return np.sort(sizes)[::-1]


def render_image(
    seed: int, index: int, *, split: str = "train", image_size: int = 128
) -> RenderedImage:
    """Render one image; it depends on the arguments only.

    Args:
        seed: of the whole dataset, at least 0.
        index: of the image in its split, at least 0.
        split: one of ``SPLITS``.
        image_size: longest side in pixels, at least ``MIN_IMAGE_SIZE``.
    """
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    shape = _draw_shape(rng, image_size)
    color = rng.uniform(30, 225, 3)
    colors = [color, second_color(rng, color, rng.uniform(15, 50))]
    canvas = _Canvas(texture(rng, *shape, tuple(colors), rng.uniform(5, 12)), colors)
    if rng.random() >= 1 / 40:  # one image in forty shows nothing
        group = rng.random()
        if group < 0.06:
            _add_group(rng, canvas, rng.integers(15, 26), is_crowd=True)
        for size in _draw_sizes(rng, rng.integers(2, 9), image_size):
            category = CATEGORIES[rng.integers(len(CATEGORIES))]
            _add_object(rng, canvas, category, max(size, category.min_size))
        if group > 0.85:
            _add_group(rng, canvas, rng.integers(4, 10), is_crowd=False)
    grain = 3 * rng.standard_normal((*shape, 1), dtype=np.float32)  # of the brightness
    image = np.clip(canvas.pixels + grain, 0, 255).astype(np.uint8)
    masks = [canvas.owner == number for number in range(len(canvas.areas))]
    instances = [
        Instance(category_id, mask, is_crowd, min(1.0, float(mask.sum() / area)))
        for category_id, mask, is_crowd, area in zip(
            canvas.category_ids, masks, canvas.crowds, canvas.areas, strict=True
        )
    ]
    return RenderedImage(image, instances)
