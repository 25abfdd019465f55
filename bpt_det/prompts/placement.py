"""Which blocks carry prompts of their own, independent of what a prompt is.

At a listed block the prompt tokens that are there are replaced by the block's own, or inserted
where none are there yet; at every other block they are carried through.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from bpt_det.errors import InputError


@dataclass(frozen=True)
class Placement:
    """The blocks that receive prompts of their own, ascending block indexes from 0."""

    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        assert self.blocks and list(self.blocks) == sorted(set(self.blocks)), self.blocks

    @property
    def first_block(self) -> int:
        """Index of the first prompted block; blocks before it see the image alone."""
        return self.blocks[0]


def _shallow(match: re.Match, num_blocks: int) -> tuple[int, ...]:
    return (0,)


def _last(match: re.Match, num_blocks: int) -> tuple[int, ...]:
    count = int(match["count"])
    if not 1 <= count <= num_blocks:
        raise InputError(
            f"placement '{match.string}' needs between 1 and {num_blocks} blocks: "
            f"the ViT has num_blocks={num_blocks}."
        )
    return tuple(range(num_blocks - count, num_blocks))


# One row a family of placements: how it is written, and which blocks it means at a given depth.
_FAMILIES: tuple[tuple[str, str, Callable[[re.Match, int], tuple[int, ...]]], ...] = (
    ("shallow", r"shallow", _shallow),
    ("last_<k>", r"last_(?P<count>\d+)", _last),
)


def resolve_placement(name: str, num_blocks: int) -> Placement:
    """Return the blocks a named placement means in a ViT of a given depth.

    Args:
        name: ``shallow`` (before block 0, carried through) or ``last_<k>`` such as ``last_4``
            (own prompts at each of the last k blocks).
        num_blocks: number of transformer blocks of the ViT.

    Raises:
        InputError: the name is unknown, or asks for more blocks than there are.
    """
    for _, pattern, blocks_of in _FAMILIES:
        match = re.fullmatch(pattern, name)
        if match:
            return Placement(blocks_of(match, num_blocks))
    known = ", ".join(written for written, _, _ in _FAMILIES)
    raise InputError(f"placement '{name}' is unknown; write one of: {known}.")
