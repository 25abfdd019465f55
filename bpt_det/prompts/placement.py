"""Placement of prompts: the blocks that get their own, independent of the parametrization.

At these blocks their own prompts replace those in the sequence, or are inserted where it has none
yet; all other blocks carry the prompts through.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bpt_det.utils.errors import InputError

_NUM_QUARTERS = 4
_NUM_RELEASED = 4  # as published: the basis is trained in the last 4 blocks


@dataclass(frozen=True)
class Placement:
    """Blocks that receive prompts of their own, as block indexes from 0.

    Attributes:
        blocks: ascending indexes.
        fixed_basis_blocks: those of them whose prompts keep their initial basis.
    """

    blocks: tuple[int, ...]
    fixed_basis_blocks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assert self.blocks and list(self.blocks) == sorted(set(self.blocks)), self.blocks
        assert set(self.fixed_basis_blocks) <= set(self.blocks), self.fixed_basis_blocks

    @property
    def first_block(self) -> int:
        """Index of the first prompted block; blocks before it see the image alone."""
        return self.blocks[0]


def resolve_placement(placement: str | Sequence[int], num_blocks: int) -> Placement:
    """Return the blocks that a placement stands for in a ViT of a given depth.

    Args:
        placement: a list of block indexes from 0, or one of these names:
            ``shallow``: before block 0, carried through;
            ``all``: own prompts at each block;
            ``last_<k>``, ``first_<k>``: at each of the last or first k blocks;
            ``<a>+<b>``: at each of the first a and the last b blocks, Table 10 of arXiv:2506.22908;
            ``interval``: at the first block of each quarter of the depth;
            ``released``: at each block, with the basis fixed at its initial value in all but the
            last 4, as the authors' code for deep prompts does (WangYZ1608/BPT@9fc3c78).
        num_blocks: number of transformer blocks of the ViT.

    Raises:
        InputError: the name is unknown, or asks for blocks that the ViT does not have.
    """
    if isinstance(placement, Sequence) and not isinstance(placement, str):
        return _listed(placement, num_blocks)
    for _, pattern, resolve in _FAMILIES:
        match = re.fullmatch(pattern, str(placement))
        if match:
            return resolve(match, num_blocks)
    known = ", ".join(spelling for spelling, _, _ in _FAMILIES)
    raise InputError(
        f"placement '{placement}' is unknown; write one of: {known}, or a list of block indexes "
        "such as [0,3,6].",
        parameter="placement",
    )


def _listed(indexes: Sequence[int], num_blocks: int) -> Placement:
    blocks = list(indexes)
    is_valid = all(isinstance(i, int) and 0 <= i < num_blocks for i in blocks)
    if not blocks or not is_valid or blocks != sorted(set(blocks)):
        raise InputError(
            f"placement {blocks} must be ascending block indexes in [0, {num_blocks - 1}]: the ViT "
            f"has num_blocks={num_blocks}.",
            parameter="placement",
        )
    return Placement(tuple(blocks))


def _shallow(match: re.Match, num_blocks: int) -> Placement:
    return Placement((0,))


def _ends(match: re.Match, num_blocks: int) -> Placement:
    """Resolve the families of first and last blocks; a pattern may have one of the counts only."""
    num_first, num_last = (int(match.groupdict().get(end) or 0) for end in ("first", "last"))
    if not 1 <= num_first + num_last <= num_blocks:
        raise InputError(
            f"placement '{match.string}' needs between 1 and {num_blocks} blocks: "
            f"the ViT has num_blocks={num_blocks}.",
            parameter="placement",
        )
    return Placement((*range(num_first), *range(num_blocks - num_last, num_blocks)))


def _all(match: re.Match, num_blocks: int) -> Placement:
    return Placement(tuple(range(num_blocks)))


def _interval(match: re.Match, num_blocks: int) -> Placement:
    _check_num_blocks(_NUM_QUARTERS, match, num_blocks)
    return Placement(tuple(i * num_blocks // _NUM_QUARTERS for i in range(_NUM_QUARTERS)))


def _released(match: re.Match, num_blocks: int) -> Placement:
    _check_num_blocks(_NUM_RELEASED, match, num_blocks)
    blocks = tuple(range(num_blocks))
    return Placement(blocks, fixed_basis_blocks=blocks[:-_NUM_RELEASED])


def _check_num_blocks(minimum: int, match: re.Match, num_blocks: int) -> None:
    if num_blocks < minimum:
        raise InputError(
            f"placement '{match.string}' needs at least {minimum} blocks: "
            f"the ViT has num_blocks={num_blocks}.",
            parameter="placement",
        )


# One row per family of placements: how it is written, its pattern, and what it stands for.
_FAMILIES: tuple[tuple[str, str, Callable[[re.Match, int], Placement]], ...] = (
    ("shallow", r"shallow", _shallow),
    ("all", r"all", _all),
    ("last_<k>", r"last_(?P<last>\d+)", _ends),
    ("first_<k>", r"first_(?P<first>\d+)", _ends),
    ("<a>+<b>", r"(?P<first>\d+)\+(?P<last>\d+)", _ends),
    ("interval", r"interval", _interval),
    ("released", r"released", _released),
)
