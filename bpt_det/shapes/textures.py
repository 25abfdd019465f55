"""Textures: two colors mixed by a random pattern. Colors are (3,) float BGR in [0, 255].

A pattern is (H, W) float32, and is clipped to [0, 1] where it is used; its period is in pixels.
"""

import math

import numpy as np

from bpt_det.utils.opencv import cv2


def _waves(
    rng: np.random.Generator, height: int, width: int, period: float
) -> tuple[np.ndarray, np.ndarray]:
    """Two perpendicular sine waves of random direction and phase, each (H, W) in [-1, 1]."""
    angle = rng.uniform(0, np.pi)
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    frequency = 2 * np.pi / period
    along, across = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)
    # Python floats, not numpy's, which would make the waves float64.
    cos, sin = frequency * math.cos(angle), frequency * math.sin(angle)
    return np.sin(cos * x + sin * y + along), np.sin(cos * y - sin * x + across)


def _stripes(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    return 0.5 + 1.5 * _waves(rng, height, width, period)[0]


def _checks(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    along, across = _waves(rng, height, width, 1.4 * period)
    return 0.5 + 4 * along * across


def _dots(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    along, across = _waves(rng, height, width, period)
    return 3 * (along + across - 0.8)


def _noise(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    rows, columns = (int(np.ceil(side / period)) + 2 for side in (height, width))
    coarse = rng.random((rows, columns), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _gradient(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    """Runs once over the window, whatever the period."""
    angle = rng.uniform(0, 2 * np.pi)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    return 0.5 + math.cos(angle) * x + math.sin(angle) * y


_PATTERNS = (_stripes, _checks, _dots, _noise, _gradient)


def second_color(rng: np.random.Generator, color: np.ndarray, contrast: float) -> np.ndarray:
    """Return a color at distance ``contrast`` from ``color``, less where the range ends."""
    direction = rng.standard_normal(3)
    direction *= contrast / np.linalg.norm(direction)
    # Away from the nearer end, so that the clip takes little.
    return np.clip(color + np.where(color > 128, -1, 1) * np.abs(direction), 0, 255)


def distinct_color(
    rng: np.random.Generator, used: list[np.ndarray], num_candidates: int = 24
) -> np.ndarray:
    """Return, of some random colors, the one farthest from its nearest among ``used``."""
    candidates = rng.uniform(10, 245, (num_candidates, 3))
    distance = np.linalg.norm(candidates[:, None] - np.stack(used), axis=2).min(axis=1)
    return candidates[distance.argmax()]


def texture(
    rng: np.random.Generator,
    height: int,
    width: int,
    colors: tuple[np.ndarray, np.ndarray],
    period: float,
) -> np.ndarray:
    """Return a random pattern of the two colors, (H, W, 3) float32; ``period`` is in pixels."""
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](rng, height, width, period)
    mix = np.clip(pattern, 0, 1)[..., None]
    first, second = (color.astype(np.float32) for color in colors)
    return first + mix * (second - first)
