"""Interface of tuning methods, and the replacement of parts of a frozen network.

A tuning method never changes the frozen ViT. Its trained parameters are its own; the tuned network
is a shallow copy of the ViT in which some modules or parameters are others (`replace_parts`).
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from bpt_det.prompts import Prompt, resolve_placement
from bpt_det.utils.errors import InputError

Parts = dict[str, Any]  # modules, parameters, tensors or None, by dotted name


class TuningMethod(nn.Module):
    """Trained changes of some blocks of a frozen ViT.

    A method says what it trains for a block (`build`) and what takes the place of parts of this
    block (`replace`). Its parameters exist after `attach`, under ``blocks.<index>``. All of them
    that require a gradient are trained.

    Args:
        placement: the blocks that are tuned, see `resolve_placement`.

    Attributes:
        has_weight_decay: False where values start elsewhere than near 0, as a decay would pull them
            from there.
        shows_in_next_block: True where a block's patches do not depend on what is trained in it,
            but those of the next one do.
    """

    has_weight_decay = True
    shows_in_next_block = False

    def __init__(self, placement: str | Sequence[int] = "all") -> None:
        super().__init__()
        self.placement = placement
        self.blocks = nn.ModuleDict()

    @property
    def name(self) -> str:
        """Name for messages."""
        return type(self).__name__

    def attach(self, vit: Any, prompts: Mapping[int, Prompt]) -> None:
        """Make the trained parameters for a ViT whose weights are loaded.

        Args:
            vit: the frozen network.
            prompts: its prompts by block index.

        Raises:
            InputError: the placement does not fit the depth, or a block has parts that the method
                is not written for.
        """
        assert not self.blocks, "a tuning method belongs to one network"
        for index in self._find_blocks(vit, prompts):
            self.blocks[str(index)] = self.build(vit.blocks[index])

    def _find_blocks(self, vit: Any, prompts: Mapping[int, Prompt]) -> Sequence[int]:
        try:
            placement = resolve_placement(self.placement, len(vit.blocks))
        except InputError as error:
            error.parameter = "tuning.placement"  # not that of the prompts
            raise
        if placement.fixed_basis_blocks:
            raise InputError(
                f"placement '{self.placement}' is for prompts; {self.name} takes 'all', 'last_4' "
                "or a list of block indexes.",
                parameter="tuning.placement",
            )
        return placement.blocks

    @property
    def first_block(self) -> int:
        """Index of the first tuned block; those before it are the frozen ViT's."""
        return min(map(int, self.blocks))

    def build(self, block: Any) -> nn.Module:
        """Return the trained part of one block; at first it should change little or nothing."""
        raise NotImplementedError

    def replace(self, block: Any, trained: Any) -> Parts:
        """Return what stands in for parts of a block, by their names in it; "" is the block."""
        raise NotImplementedError

    def merge(self, block: Any, trained: Any) -> Parts:
        """Return plain layers that compute what `replace` does, for inference.

        Raises:
            InputError: there are none.
        """
        raise InputError(f"{self.name} cannot be merged into the ViT; only LoRA and SSF can.")

    def tuned(self, vit: Any) -> Any:
        """Return a ViT with the changes of this method; it shares all else with ``vit``."""
        return replace_parts(vit, self._parts(vit, self.replace))

    def merged(self, vit: Any) -> Any:
        """Return a ViT of its own weights only that computes what the tuned one does.

        Raises:
            InputError: the method cannot be merged, or not now.
        """
        return replace_parts(copy.deepcopy(vit), self._parts(vit, self.merge))

    def _parts(self, vit: Any, parts_of: Any) -> Parts:
        return {
            f"blocks.{index}.{name}".rstrip("."): part
            for index, trained in self.blocks.items()
            for name, part in parts_of(vit.blocks[int(index)], trained).items()
        }


def replace_parts(module: Any, parts: Mapping[str, Any]) -> Any:
    """Return a shallow copy of a module in which some parts are others.

    Modules on the way to a part are copied too; all others, and all parameters, are shared.

    Args:
        module: left as it is.
        parts: module, or None, by the dotted name of the module that it replaces; parameter, tensor
            or None by that of a parameter.
    """
    copied = copy.copy(module)
    for attribute in ("_modules", "_parameters", "_buffers"):
        copied.__dict__[attribute] = dict(getattr(module, attribute))
    children: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        child, _, rest = name.partition(".")
        if rest:
            children.setdefault(child, {})[rest] = part
        else:
            table = _kind_of(copied, child)
            is_module = table is copied._modules
            assert part is None or isinstance(part, nn.Module) == is_module, name
            table[child] = part
    for child, inner in children.items():
        copied._modules[child] = replace_parts(module._modules[child], inner)
    return copied


def _kind_of(module: Any, name: str) -> dict[str, Any]:
    """Return the table of a module that holds a name: of its submodules, parameters or buffers."""
    tables = (module._modules, module._parameters, module._buffers)
    return next(table for table in tables if name in table)
