"""Names of classes as a reader wants them."""

import pytest

from bpt_det.visualization.names import display_names, wrap


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Black_footed_Albatross", "Black footed Albatross"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("n01440764", "n01440764"),
        ("12", "12"),
        ("3.5_mm  jack\n", "3.5 mm jack"),
        ("Red-winged Blackbird (Male)", "Red-winged Blackbird (Male)"),
        ("été", "été"),
        ("a\udce9", "a?"),
        ("_", "(no name)"),
    ],
)
def test_numbers_and_underscores_go(name, shown):
    assert display_names([name]) == [shown]


def test_names_that_would_be_equal_keep_their_numbers():
    names = ["001.crow", "002.crow", "003.red_jay"]
    assert display_names(names) == ["001.crow", "002.crow", "red jay"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("onetwothree", ["onetwot", "hree"]),
        ("a onetwothree b", ["a", "onetwot", "hree b"]),
        ("one two three four", ["one two", "three", "four"]),
        ("one two three four five six", ["one two", "three", "four f…"]),
        ("x" * 50, ["x" * 7, "x" * 7, "x" * 6 + "…"]),
        ("aaa bbb ccc ddd eee fff ggg", ["aaa bbb", "ccc ddd", "eee ff…"]),
    ],
)
def test_a_long_text_is_broken_into_three_lines_of_at_most_seven(text, lines):
    assert wrap(text, 7, len) == lines


def test_no_width_is_too_small():
    assert wrap("ab c", 0, len, max_lines=9) == ["a", "b", "c"]
