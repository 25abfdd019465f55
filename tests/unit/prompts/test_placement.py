import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bpt_det.prompts import Placement, resolve_placement
from bpt_det.utils.errors import InputError


@pytest.mark.parametrize("num_blocks", [1, 5, 12, 24])
def test_shallow_is_the_first_block_alone_at_every_depth(num_blocks):
    placement = resolve_placement("shallow", num_blocks)
    assert placement == Placement((0,))
    assert placement.first_block == 0


@pytest.mark.parametrize(
    ("name", "num_blocks", "blocks"),
    [
        ("last_4", 12, (8, 9, 10, 11)),
        ("last_4", 24, (20, 21, 22, 23)),
        ("last_4", 4, (0, 1, 2, 3)),
        ("last_1", 5, (4,)),
        ("last_12", 12, tuple(range(12))),
        ("first_3", 12, (0, 1, 2)),
        ("first_1", 5, (0,)),
        ("first_5", 5, (0, 1, 2, 3, 4)),
        ("all", 1, (0,)),
        ("all", 6, (0, 1, 2, 3, 4, 5)),
        ("4+0", 12, (0, 1, 2, 3)),
        ("3+1", 12, (0, 1, 2, 11)),
        ("2+2", 24, (0, 1, 22, 23)),
        ("1+3", 12, (0, 9, 10, 11)),
        ("0+4", 12, (8, 9, 10, 11)),
        ("2+3", 5, (0, 1, 2, 3, 4)),
        ("interval", 12, (0, 3, 6, 9)),
        ("interval", 24, (0, 6, 12, 18)),
        ("interval", 32, (0, 8, 16, 24)),
        ("interval", 6, (0, 1, 3, 4)),
        ("interval", 4, (0, 1, 2, 3)),
        ([0, 3, 6], 12, (0, 3, 6)),
        ((4,), 5, (4,)),
    ],
)
def test_a_placement_means_these_blocks_at_this_depth(name, num_blocks, blocks):
    placement = resolve_placement(name, num_blocks)
    assert placement.blocks == blocks
    assert placement.first_block == blocks[0]
    assert placement.fixed_basis_blocks == ()


@pytest.mark.parametrize(
    ("num_blocks", "fixed"), [(12, tuple(range(8))), (24, tuple(range(20))), (4, ()), (5, (0,))]
)
def test_released_prompts_every_block_and_trains_the_basis_in_the_last_four(num_blocks, fixed):
    placement = resolve_placement("released", num_blocks)
    assert placement.blocks == tuple(range(num_blocks))
    assert placement.fixed_basis_blocks == fixed


UNKNOWN = ["deep", "last_", "last_four", "last_-1", "shallow ", "", "3+", "+1", "1+1+1", "first"]
NAMES = ("shallow", "all", "last_<k>", "first_<k>", "<a>+<b>", "interval", "released")


def refusal(placement, num_blocks):
    with pytest.raises(InputError) as caught:
        resolve_placement(placement, num_blocks)
    assert caught.value.parameter == "placement"
    return str(caught.value)


@pytest.mark.parametrize("name", [*UNKNOWN, 3, 1.5, None, {"first": 2}])
def test_an_unknown_placement_is_refused_with_the_known_ones(name):
    text = refusal(name, 12)
    assert text.startswith(f"placement '{name}' is unknown")
    assert all(known in text for known in NAMES)


@pytest.mark.parametrize("name", ["last_0", "last_7", "first_0", "first_7", "0+0", "3+4", "7+0"])
def test_more_blocks_than_the_vit_has_or_none_are_refused_with_the_depth(name):
    text = refusal(name, 6)
    assert f"'{name}'" in text and "between 1 and 6 blocks" in text and "num_blocks=6" in text


@pytest.mark.parametrize("name", ["interval", "released"])
def test_a_placement_of_four_parts_needs_four_blocks(name):
    text = refusal(name, 3)
    assert f"'{name}'" in text and "at least 4 blocks" in text and "num_blocks=3" in text


@pytest.mark.parametrize("blocks", [[], [0, 6], [-1], [2, 1], [1, 1], [0.5], ["0"]])
def test_a_list_that_is_not_ascending_blocks_of_the_vit_is_refused(blocks):
    text = refusal(blocks, 6)
    assert str(blocks) in text and "ascending" in text and "[0, 5]" in text


counts = st.integers(0, 40)
placements = st.one_of(
    st.sampled_from(["shallow", "all", "interval", "released"]),
    st.builds("last_{}".format, counts),
    st.builds("first_{}".format, counts),
    st.builds("{}+{}".format, counts, counts),
    st.lists(st.integers(-2, 40), max_size=6),
)


@given(placement=placements, num_blocks=st.integers(1, 40))
def test_every_placement_is_ascending_blocks_of_the_vit_or_a_refusal(placement, num_blocks):
    try:
        resolved = resolve_placement(placement, num_blocks)
    except InputError as error:
        assert str(num_blocks) in str(error) or str(num_blocks - 1) in str(error)
        return
    assert list(resolved.blocks) == sorted(set(resolved.blocks))
    assert set(resolved.blocks) <= set(range(num_blocks))
    assert set(resolved.fixed_basis_blocks) <= set(resolved.blocks)
    assert resolved.first_block == min(resolved.blocks)


@given(num_first=counts, num_last=counts, num_blocks=st.integers(1, 40))
def test_first_and_last_blocks_are_as_many_as_asked_for(num_first, num_last, num_blocks):
    if not 1 <= num_first + num_last <= num_blocks:
        refusal(f"{num_first}+{num_last}", num_blocks)
        return
    blocks = resolve_placement(f"{num_first}+{num_last}", num_blocks).blocks
    assert blocks[:num_first] == tuple(range(num_first))
    assert blocks[num_first:] == tuple(range(num_blocks))[num_blocks - num_last :]


@given(text=st.text(max_size=8))
def test_any_other_text_is_refused_as_unknown(text):
    assume(not re.fullmatch(r"shallow|all|interval|released|(last|first)_\d+|\d+\+\d+", text))
    assert f"placement '{text}' is unknown" in refusal(text, 12)
