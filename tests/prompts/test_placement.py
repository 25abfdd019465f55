import pytest

from bpt_det.errors import InputError
from bpt_det.prompts import Placement, resolve_placement


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
    ],
)
def test_last_k_are_the_deepest_blocks_whatever_the_depth(name, num_blocks, blocks):
    placement = resolve_placement(name, num_blocks)
    assert placement.blocks == blocks
    assert placement.first_block == blocks[0]


@pytest.mark.parametrize("name", ["deep", "last_", "last_four", "last_-1", "shallow ", ""])
def test_an_unknown_placement_is_refused_with_the_known_ones(name):
    text = rf"^placement '{name}' is unknown; write one of: shallow, last_<k>\.$"
    with pytest.raises(InputError, match=text):
        resolve_placement(name, 12)


@pytest.mark.parametrize("count", [0, 7])
def test_more_blocks_than_the_vit_has_are_refused_with_both_numbers(count):
    text = rf"^placement 'last_{count}' needs between 1 and 6 blocks: the ViT has num_blocks=6\.$"
    with pytest.raises(InputError, match=text):
        resolve_placement(f"last_{count}", 6)
