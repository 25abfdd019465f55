"""Categories of the embedded dataset, with the silhouette of each.

A silhouette is a list of loops, each (n, 2) as (x, y), in a unit frame that reaches from about -1
to 1; loops after the first one are holes. What makes a category is its silhouette alone: color and
texture are drawn independently of it. Proportions vary with the generator.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Loops = list[np.ndarray]


class Category(NamedTuple):
    """One row of the table below.

    Args:
        id: COCO category id. Ids have gaps on purpose, as in COCO, so that a reader that takes
            an id for a class index fails.
        name: unique name.
        silhouette: draws one silhouette from a generator.
        min_size: pixels along the longest side below which the shape cannot be recognized.
    """

    id: int
    name: str
    silhouette: Callable[[np.random.Generator], Loops]
    min_size: int


def _ellipse(radius_x: float, radius_y: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.stack([radius_x * np.cos(angle), radius_y * np.sin(angle)], axis=1)


def _rectangle(half_width: float, half_height: float) -> np.ndarray:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float)
    return corners * [half_width, half_height]


def _polar(angle: np.ndarray, radius: np.ndarray | float) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _disc(rng: np.random.Generator) -> Loops:
    return [_ellipse(1, rng.uniform(0.8, 1))]


def _ring(rng: np.random.Generator) -> Loops:
    height, hole = rng.uniform(0.8, 1), rng.uniform(0.5, 0.65)
    return [_ellipse(1, height), _ellipse(hole, hole * height)]


def _square(rng: np.random.Generator) -> Loops:
    return [_rectangle(0.8, 0.8 * rng.uniform(0.8, 1))]


def _frame(rng: np.random.Generator) -> Loops:
    height, border = 0.9 * rng.uniform(0.75, 1), rng.uniform(0.28, 0.38)
    return [_rectangle(0.9, height), _rectangle(0.9 - border, height - border)]


def _triangle(rng: np.random.Generator) -> Loops:
    angle = np.pi * (np.array([1, 5, 9]) / 6 + rng.uniform(-1, 1, 3) / 18)
    return [_polar(angle, 1.0)]


def _star(rng: np.random.Generator) -> Loops:
    radius = np.where(np.arange(10) % 2, rng.uniform(0.36, 0.46), 1.0)
    return [_polar(np.arange(10) * np.pi / 5, radius)]


def _stick(rng: np.random.Generator) -> Loops:
    return [_rectangle(1, rng.uniform(0.09, 0.13))]


def _crescent(rng: np.random.Generator) -> Loops:
    """The unit circle without a smaller circle that cuts it at the angles -opening and opening."""
    opening, bite = rng.uniform(0.6, 0.9), rng.uniform(0.72, 0.8)
    outer = np.linspace(opening, 2 * np.pi - opening, 40)
    center = np.cos(opening) - np.sqrt(max(bite**2 - np.sin(opening) ** 2, 0.0))
    half = np.arctan2(np.sin(opening), np.cos(opening) - center)
    inner = np.linspace(2 * np.pi - half, half, 40)
    return [np.concatenate([_polar(outer, 1.0), _polar(inner, bite) + [center, 0]])]


def _cross(rng: np.random.Generator) -> Loops:
    arm = rng.uniform(0.24, 0.34)
    quarter = np.array([[1.0, -arm], [1.0, arm], [arm, arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # row vectors, a quarter turn
    return [np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])]


def _leaf(rng: np.random.Generator) -> Loops:
    x = np.linspace(-1, 1, 24)
    y = rng.uniform(0.4, 0.5) * (1 - x**2)
    return [np.concatenate([np.stack([x, -y], 1), np.stack([x, y], 1)[-2:0:-1]])]


CATEGORIES = (
    Category(1, "disc", _disc, 12),
    Category(2, "ring", _ring, 18),
    Category(3, "square", _square, 14),
    Category(5, "frame", _frame, 20),
    Category(7, "triangle", _triangle, 14),
    Category(8, "star", _star, 18),
    Category(10, "stick", _stick, 28),
    Category(11, "crescent", _crescent, 20),
    Category(13, "cross", _cross, 16),
    Category(16, "leaf", _leaf, 12),  # the one that also comes in clusters and crowds
)
