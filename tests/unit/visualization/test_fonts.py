"""Texts in pictures: letters of installed fonts, or the number; no boxes, no formulas."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from bpt_det.visualization import fonts
from bpt_det.visualization.annotations import Annotation
from bpt_det.visualization.confusion_sheet import display_names
from bpt_det.visualization.draw import draw_annotations
from bpt_det.visualization.evaluation_figures import (
    draw_confusion_matrix,
    draw_precision_recall,
)
from bpt_det.visualization.labels import label_text, text_width
from bpt_det.visualization.sheet import Sheet, contact_sheet

CAT = "\u732b"
CACHES = (fonts._installed, fonts.font_of, fonts._drawable_names, fonts._family)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make installed fonts those of a list, none at first."""
    paths = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: paths)
    for cached in CACHES:
        cached.cache_clear()
    yield paths
    for cached in CACHES:
        cached.cache_clear()


def write_font(path, letter, family="Solid", style="Regular"):
    """Write a font with one letter, a full square."""
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "letter"])
    builder.setupCharacterMap({ord(letter): "letter"})
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (1000, 700), (1000, 0)):
        pen.lineTo(point)
    pen.closePath()
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "letter": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "letter": (1000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": style})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)
    return str(path)


def panel(name):
    image = np.zeros((512, 512, 3), np.uint8)
    return draw_annotations(image, [Annotation(0, (100, 200, 400, 400))], [name])


def test_a_name_of_no_installed_font_is_the_number_and_one_warning(installed, caplog):
    names = ["dog", f"{CAT} cat", "\u72ac"]
    for _ in range(3):
        assert fonts.drawable_names(names) == ["dog", "class 1", "class 2"]
    (record,) = caplog.records
    assert "2 class names" in record.getMessage() and CAT in record.getMessage()
    assert display_names(names) == ["dog", "class 1", "class 2"]
    assert label_text(Annotation(1, (0, 0, 9, 9)), names) == "class 1"
    np.testing.assert_array_equal(panel(CAT), panel("class 0"))


def test_names_of_no_installed_font_are_numbers_in_figures_too(installed, tmp_path):
    pictures = []
    for name, names in (("a", [CAT, "dog"]), ("b", ["class 0", "dog"])):
        draw_confusion_matrix(tmp_path / f"{name}.png", np.eye(2, dtype=int), names)
        draw_precision_recall(tmp_path / f"{name}_curve.png", np.ones((2, 101)), names)
        pictures.append([(tmp_path / f"{name}{part}.png").read_bytes() for part in ("", "_curve")])
    assert pictures[0] == pictures[1]


def test_a_letter_is_drawn_with_an_installed_font_that_has_it(installed, tmp_path):
    installed.append(write_font(tmp_path / "solid.ttf", CAT))
    assert fonts.drawable_names([f"a{CAT}"]) == [f"a{CAT}"]
    assert [part for _, part in fonts.split_by_font(f"a{CAT}b")] == ["a", CAT, "b"]
    assert text_width(CAT, 40) == 40  # as wide as it is high
    sheet = Sheet(100, 60)
    sheet.text(CAT, 20, 5, size=40)
    black = (sheet.pixels == 0).all(axis=2)
    assert 0.9 < black.sum() / (40 * 28) < 1.1  # the full square, no box
    difference = (panel(CAT) != panel("a")).any(axis=2)
    rows, columns = difference.nonzero()
    assert len(rows) > 50 and np.ptp(rows) < 40 and np.ptp(columns) < 60  # in the label alone


def test_a_regular_font_is_taken_before_a_bold_one(installed, tmp_path):
    installed.append(write_font(tmp_path / "a-bold.ttf", CAT, style="Bold"))
    regular = write_font(tmp_path / "b-regular.ttf", CAT)
    installed.append(regular)
    assert fonts.font_of(CAT) == regular


def test_fonts_of_boxes_and_damaged_ones_count_for_nothing(installed, tmp_path):
    (tmp_path / "damaged.ttf").write_bytes(b"no font" * 9)
    installed.append(write_font(tmp_path / "LastResort.ttf", CAT))
    installed.append(str(tmp_path / "damaged.ttf"))
    assert fonts.font_of(CAT) is None


@pytest.mark.parametrize(
    "name", ["$", "a $b$ c", "$\\frac{", "$x_1$", "100 % \\alpha", "{}", "<b>"]
)
def test_a_formula_is_drawn_as_it_is_written(name):
    assert fonts.drawable_names([name]) == [name]
    picture = panel(name)
    assert (picture != panel("other")).any()


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("a\nb", "a b"),
        ("a\r\n\tb ", "a b"),
        ("a\u2028b\x00c", "a b c"),
        ("\u202eabc\u200b", "abc"),
        ("u\u0308", "\u00fc"),
        ("", "class 0"),
        ("\udcff", "class 0"),
        ("\u200b", "class 0"),
        ("x" * 300, "x" * 300),
        (
            "Gr\u00f6\u00dfe \u03b3\u03ac\u03c4\u03b1 \u043a\u043e\u0442",
            "Gr\u00f6\u00dfe \u03b3\u03ac\u03c4\u03b1 \u043a\u043e\u0442",
        ),
    ],
)
def test_a_name_is_one_line_of_letters(installed, name, drawn):
    assert fonts.drawable_names([name]) == [drawn]
    assert panel(name).shape == (512, 512, 3)


def test_file_names_of_a_contact_sheet_have_no_box(installed):
    tile = np.zeros((64, 200, 3), np.uint8)
    expected = contact_sheet([tile], ["a?b.png"])
    for name in (f"a{CAT}b.png", "a\udcffb.png"):
        np.testing.assert_array_equal(contact_sheet([tile], [name]), expected)
