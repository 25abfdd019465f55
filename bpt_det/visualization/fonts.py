"""Fonts for texts of any script: Matplotlib's own, and those installed for what it lacks.

Matplotlib is imported where it is used: `figures` says why.
"""

import functools
import logging
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import ImageFont

from bpt_det.utils.errors import printable

logger = logging.getLogger(__name__)

_BOXES = ("LastResort", "AdobeBlank")  # fonts that draw a box, or nothing, for every character


def default_font(bold: bool = False) -> str:
    """Return the file of the font that Matplotlib draws with, and so Detectron2's `Visualizer`."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return str(Path(matplotlib.get_data_path(), "fonts/ttf", name))


@functools.lru_cache
def load_font(path: str, size: float) -> ImageFont.FreeTypeFont:
    """Return a font of Pillow; ``size`` in pixels."""
    return ImageFont.truetype(path, size)


def one_line_text(text: str) -> str:
    """Return a text as it can be drawn on one line: no line breaks, no invisible characters."""
    letters = []
    for letter in unicodedata.normalize("NFC", text):
        category = unicodedata.category(letter)
        if category in ("Cc", "Zl", "Zp"):
            letters.append(" ")
        elif category != "Cf" and not 0xFE00 <= ord(letter) <= 0xFE0F:  # variation selectors
            letters.append(letter)
    return " ".join("".join(letters).split())


def cut_text(text: str, most: int) -> str:
    """Return a text of at most ``most`` letters, the last an ellipsis where it is cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def drawable_names(names: Sequence[str]) -> list[str]:
    """Return class names as they can be drawn, on one line each.

    One that no installed font has all letters of is ``class 3``, by its index; one warning names
    the first of them.
    """
    return list(_drawable_names(tuple(names)))


@functools.lru_cache(maxsize=8)
def _drawable_names(names: tuple[str, ...]) -> list[str]:
    texts = [one_line_text(name) for name in names]
    missing = [i for i, text in enumerate(texts) if not text or None in map(font_of, text)]
    if missing:
        logger.warning(
            "%d class names have letters of no installed font and are drawn by number, such as "
            "'%s'; install a font of that script, such as Noto",
            len(missing),
            printable(names[missing[0]]),
        )
    for index in missing:
        texts[index] = f"class {index}"
    return texts


def drawable_text(text: str) -> str:
    """Return a text, such as a file's name, on one line, with ``?`` for letters of no font."""
    return "".join(letter if font_of(letter) else "?" for letter in one_line_text(text))


@functools.cache
def font_of(letter: str) -> str | None:
    """Return the file of the first font that has a letter; None: there is none."""
    for path, letters in _fonts():
        if ord(letter) in letters:
            return path
    return None


def font_families(text: str) -> list[str]:
    """Return the names by which Matplotlib finds the fonts of a text, the default one first."""
    paths = (font_of(letter) for letter in text)
    return list(dict.fromkeys(_family(path or default_font()) for path in [None, *paths]))


@functools.cache
def _family(path: str) -> str:
    from matplotlib import font_manager

    if path != default_font():
        font_manager.fontManager.addfont(path)
    return font_manager.FontProperties(fname=path).get_name()


@functools.cache
def _default_letters() -> tuple[str, frozenset[int]]:
    from matplotlib.ft2font import FT2Font

    return default_font(), frozenset(FT2Font(default_font()).get_charmap())


def _fonts() -> Iterator[tuple[str, frozenset[int]]]:
    """Yield fonts and the letters they have, those that are installed only if need be."""
    yield _default_letters()
    yield from _installed()


@functools.cache
def _installed() -> list[tuple[str, frozenset[int]]]:
    """Return the fonts of the system, regular ones before bold and other styles."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    fonts = []
    for path in sorted(font_manager.findSystemFonts()):
        if any(name in path for name in _BOXES):
            continue
        try:
            font = FT2Font(path)
        except (OSError, RuntimeError):  # damaged, or of pixels
            continue
        if font.scalable:
            fonts.append((font.style_name != "Regular", path, frozenset(font.get_charmap())))
    return [font[1:] for font in sorted(fonts, key=lambda font: font[:2])]


def split_by_font(text: str, bold: bool = False) -> list[tuple[str, str]]:
    """Return a text in stretches of one font each: (file of the font, stretch)."""
    stretches: list[tuple[str, str]] = []
    for letter in text:
        path = font_of(letter)
        path = default_font(bold) if path in (None, default_font()) else path
        if stretches and stretches[-1][0] == path:
            stretches[-1] = (path, stretches[-1][1] + letter)
        else:
            stretches.append((path, letter))
    return stretches
