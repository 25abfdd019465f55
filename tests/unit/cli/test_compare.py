"""Parts of a comparison that the command line selects."""

import pytest

from bpt_det.cli.actions.compare import select_methods
from bpt_det.utils.errors import InputError

NAMES = ["a", "b", "c", "d", "e"]


def test_parts_hold_each_method_once_in_the_order_of_the_plan():
    parts = [select_methods(NAMES, None, f"{number}/3") for number in (1, 2, 3)]
    assert parts == [["a", "d"], ["b", "e"], ["c"]]
    assert select_methods(NAMES, None, None) == NAMES
    assert select_methods(NAMES, ["d", "b"], None) == ["b", "d"]


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "x/y"])
def test_a_wrong_part_is_refused_with_an_example(part):
    with pytest.raises(InputError, match=f"--part must be I/N .* as 1/3, got '{part}'"):
        select_methods(NAMES, None, part)


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(
        InputError, match="--only f: the plan has no such method, but a, b, c, d, e"
    ):
        select_methods(NAMES, ["f"], None)
