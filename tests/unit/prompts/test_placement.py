import pytest

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


@pytest.mark.parametrize("name", [*UNKNOWN, 3, 1.5, None, {"first": 2}])
def test_an_unknown_placement_is_refused_with_the_known_ones(name):
    with pytest.raises(InputError) as refused:
        resolve_placement(name, 12)
    assert str(refused.value) == (
        f"placement '{name}' is unknown; write one of: shallow, all, last_<k>, first_<k>, <a>+<b>, "
        "interval, released, or a list of block indexes such as [0,3,6]."
    )


@pytest.mark.parametrize("name", ["last_0", "last_7", "first_0", "first_7", "0+0", "3+4", "7+0"])
def test_more_blocks_than_the_vit_has_or_none_are_refused_with_the_depth(name):
    with pytest.raises(InputError) as refused:
        resolve_placement(name, 6)
    assert str(refused.value) == (
        f"placement '{name}' needs between 1 and 6 blocks: the ViT has num_blocks=6."
    )


@pytest.mark.parametrize("name", ["interval", "released"])
def test_a_placement_of_four_parts_needs_four_blocks(name):
    with pytest.raises(InputError) as refused:
        resolve_placement(name, 3)
    assert str(refused.value) == (
        f"placement '{name}' needs at least 4 blocks: the ViT has num_blocks=3."
    )


@pytest.mark.parametrize("blocks", [[], [0, 6], [-1], [2, 1], [1, 1], [0.5], ["0"]])
def test_a_list_that_is_not_ascending_blocks_of_the_vit_is_refused(blocks):
    with pytest.raises(InputError) as refused:
        resolve_placement(blocks, 6)
    assert str(refused.value) == (
        f"placement {blocks} must be ascending block indexes in [0, 5]: the ViT has num_blocks=6."
    )
