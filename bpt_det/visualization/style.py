"""Style of drawn annotations: boxes, labels, font, lines, opacity."""

from dataclasses import dataclass

from bpt_det.utils.errors import InputError

LABELS = ("score", "name", "none")
_MOST_PIXELS = 500


@dataclass(frozen=True)
class DrawStyle:
    """How annotations are drawn.

    Args:
        boxes: draw the box of an object that has a mask too.
        labels: ``score`` (class and score, if there is one), ``name`` (class) or ``none``.
        font_size: of labels, pixels of the panel; None: by the size and number of objects.
        line_width: pixels of the panel; None: by its size.
        opacity: of the color of a mask's area, in [0, 1]; 0 leaves its pixels as they are.

    Raises:
        InputError: a value is out of range.
    """

    boxes: bool = False
    labels: str = "score"
    font_size: float | None = None
    line_width: float | None = None
    opacity: float = 0.5

    def __post_init__(self) -> None:
        if self.labels not in LABELS:
            raise InputError(f"labels must be out of {', '.join(LABELS)}, got {self.labels!r}.")
        for name, value in (("font_size", self.font_size), ("line_width", self.line_width)):
            if value is not None and not 0 < value <= _MOST_PIXELS:
                raise InputError(f"{name} must be in (0, {_MOST_PIXELS}] pixels, got {value}.")
        if not 0 <= self.opacity <= 1:
            raise InputError(f"opacity must be in [0, 1], got {self.opacity}.")
