"""Figures of an evaluation: precision-recall curves and a confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .figures import new_figure, save_figure
from .fonts import cut_text, drawable_names, font_families

# In the folder of an evaluation: files of masks, as those of boxes beside it.
MASKS_FOLDER = "masks"
_NAMED_CURVES = 10  # more classes than these get gray curves
_MOST_ROWS = 40  # of a confusion matrix; larger ones show the most confused classes
_MOST_COUNTS = 16  # rows of a matrix whose cells hold their numbers
_NAME_LENGTH = 24  # characters


def draw_precision_recall(
    output_png: str | Path,
    curves: np.ndarray,
    class_names: Sequence[str],
    best: tuple[float, float] | None = None,
) -> None:
    """Draw the precision of each class over recall, and their mean.

    Args:
        output_png: file to write.
        curves: precision at R recalls from 0 to 1, (K, R); nan for a class to leave out.
        class_names: K names.
        best: recall and precision at a score threshold, in [0, 1], to mark.

    Raises:
        InputError: ``output_png`` cannot be written.
    """
    class_names = drawable_names(class_names)
    known = np.flatnonzero(~np.isnan(curves[:, 0]))
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    recalls = np.linspace(0, 1, curves.shape[1])
    are_named = len(known) <= _NAMED_CURVES
    for index in known[np.argsort(-curves[known].mean(axis=1))].tolist():
        label = f"{cut_text(class_names[index], _NAME_LENGTH)} {100 * curves[index].mean():.1f}"
        color = None if are_named else "0.8"
        axes.plot(
            recalls, curves[index], color=color, linewidth=1, label=label if are_named else None
        )
    if len(known):
        mean = curves[known].mean(axis=0)
        axes.plot(recalls, mean, "k", linewidth=2.5, label=f"mean {100 * mean.mean():.1f}")
    if best is not None:
        axes.plot(*best, "ko", label="largest F1, all classes")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title("Precision over recall at IoU 0.5 (AP50 in percent)", fontsize=10)
    axes.grid(alpha=0.3)
    if len(known):
        for text in axes.legend(fontsize=8).get_texts():
            _set_font(text)
    save_figure(figure, output_png)


def draw_confusion_matrix(
    output_png: str | Path, counts: np.ndarray, class_names: Sequence[str]
) -> None:
    """Draw a confusion matrix, each row as shares of its sum.

    Of more than 40 classes those are shown that are confused most often.

    Args:
        output_png: file to write.
        counts: (K, K), rows true.
        class_names: K names, that of the background among them.

    Raises:
        InputError: ``output_png`` cannot be written.
    """
    class_names = drawable_names(class_names)
    shown = np.arange(len(counts))
    if len(counts) > _MOST_ROWS:
        wrong = counts * ~np.eye(len(counts), dtype=bool)
        confused = wrong.sum(axis=1) + wrong.sum(axis=0)
        shown = np.sort(np.argsort(-confused, kind="stable")[:_MOST_ROWS])
    part = counts[np.ix_(shown, shown)]
    names = [cut_text(class_names[index], _NAME_LENGTH) for index in shown.tolist()]
    side = min(10.0, 2.6 + 0.42 * len(shown))
    figure = new_figure(side + 0.8, side)
    axes = figure.subplots()
    totals = counts[shown].sum(axis=1, keepdims=True)
    shares = np.divide(part, totals, out=np.zeros(part.shape), where=totals > 0)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9 if len(shown) <= _MOST_COUNTS else 6
    ticks = range(len(shown))
    axes.set_xticks(ticks, names, rotation=90, fontsize=size)
    axes.set_yticks(ticks, names, fontsize=size)
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        _set_font(label)
    axes.set(xlabel="predicted", ylabel="true")
    if len(shown) <= _MOST_COUNTS:
        for (row, column), count in np.ndenumerate(part):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color, size=8)
    figure.colorbar(image, label="share of the row", shrink=0.7)
    save_figure(figure, output_png)


def _set_font(text: object) -> None:
    text.set_parse_math(False)  # type: ignore[attr-defined]  # a name may have a $
    text.set_fontfamily(font_families(text.get_text()))  # type: ignore[attr-defined]
