"""Prompted ViT: a frozen Vision Transformer with learned prompts in some of its blocks.

Shape legend: B batch, H W image size in pixels, N patches, P prompt_length, D embed_dim.
"""

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bpt_det.prompts import FactoredPrompt, Placement, Prompt, resolve_placement
from bpt_det.utils.errors import InputError, check_probability

from .attention import attention_kernel
from .embedding import embed_images, grid_size
from .network import ColumnarViT, adapt
from .statistics import TokenStatistics, check_statistics
from .tuning import TuningMethod

logger = logging.getLogger(__name__)


class PromptedViT(nn.Module):
    """A Vision Transformer, frozen, with prompts between its class token and its patches.

    The ViT keeps its parameters and modules under `vit`; it stays in evaluation mode and its
    parameters never require a gradient. Each prompted block has its own module in `prompts`, keyed
    by block index. A tuning method trains parameters of its own, in `tuning`. Every block attends
    globally. The ViT's final norm is not applied.

    Args:
        vit: the network to freeze: timm's `VisionTransformer` or `Eva`, built with
            ``dynamic_img_size=True``, or a module that is a `ColumnarViT`.
        prompt: for instance a `BilinearPrompt`; the first prompted block takes it, each further one
            a copy with its own initial values. None: no prompts.
        placement: which blocks are prompted, see `resolve_placement`.
        frozen: False trains the ViT too (full fine-tuning), all but its final norm.
        activation_checkpointing: save only the input of each block for the backward pass, which
            computes the rest again: less memory for up to half as much more time.
        prompt_dropout: probability, in [0, 1), that an entry of a prompt is 0 in training, drawn
            for each image anew, as in KMnP/vpt@4410440 src/models/vit_prompt/vit_mae.py.
        tuning: what is trained in the blocks beside prompts, or without any, for instance `LoRA`;
            None: nothing.

    Raises:
        InputError: the prompt is not a `Prompt` or not as wide as the ViT, the placement does not
            fit the depth or fixes the basis of prompts that have none, the dropout is out of range,
            or the tuning method does not fit the ViT.
    """

    def __init__(
        self,
        vit: nn.Module,
        prompt: Prompt | None = None,
        placement: str | Sequence[int] = "shallow",
        *,
        frozen: bool = True,
        activation_checkpointing: bool = False,
        prompt_dropout: float = 0.0,
        tuning: TuningMethod | None = None,
    ) -> None:
        super().__init__()
        check_probability("prompt_dropout", prompt_dropout)
        self.prompt_dropout = nn.Dropout(prompt_dropout)
        self.activation_checkpointing = activation_checkpointing
        network = adapt(vit)
        self.vit = vit.requires_grad_(not frozen).train(not frozen)
        network.norm.requires_grad_(False)  # not applied, so it has no gradient
        self.frozen = frozen
        self.prompts = nn.ModuleDict()
        self.prompt_length = 0  # P, of the prompts that leave the last block
        num_blocks = len(network.blocks)
        self.first_trained_block = num_blocks  # those before it depend on the image alone
        placed = resolve_placement(placement, num_blocks)
        if prompt is not None:
            self._place_prompts(prompt, placed, placement)
        self.tuning = tuning
        if tuning is not None:
            _check_tuning(tuning, frozen)
            tuning.attach(vit, dict(self._indexed_prompts()))
            self.first_trained_block = min(self.first_trained_block, tuning.first_block)

    def _place_prompts(
        self, prompt: Prompt, placed: Placement, placement: str | Sequence[int]
    ) -> None:
        _check_prompt(prompt, self.network)
        prompts = {placed.first_block: prompt}
        prompts |= {index: _sibling(prompt) for index in placed.blocks[1:]}
        for index in placed.fixed_basis_blocks:
            _freeze_basis(prompts[index], placement)
        self.prompts.update({str(index): prompts[index] for index in placed.blocks})
        self.prompt_length = prompt.prompt_length
        self.first_trained_block = placed.first_block

    @property
    def needed_statistics(self) -> dict[int, str]:
        """Field of `BlockStatistics` by block index, where initial prompts are made of one."""
        return {
            index: prompt.needed_statistics
            for index, prompt in self._indexed_prompts()
            if prompt.needed_statistics
        }

    def initialize_prompts(self, seed: int, statistics: TokenStatistics | None = None) -> None:
        """Set the initial prompts that are made of token statistics.

        Called once at the start of training. Other prompts keep the values they were built with.
        A model that is loaded from a checkpoint does not need it.

        Args:
            seed: of the random choices, the same in every process.
            statistics: of this ViT's tokens; None: there are none.

        Raises:
            InputError: prompts need statistics that are not there.
        """
        needed = self.needed_statistics
        if not needed:
            return
        statistics = check_statistics(statistics, self.vit, needed)
        generator = torch.Generator().manual_seed(seed)
        for index, prompt in self._indexed_prompts():
            if index in needed:
                logger.info("Block %d: initial prompts of '%s'", index, statistics.source)
                prompt.reset_parameters(generator, statistics.blocks[index])

    def _indexed_prompts(self) -> Iterator[tuple[int, Prompt]]:
        for index, prompt in self.prompts.items():
            assert isinstance(prompt, Prompt)
            yield int(index), prompt

    def parameter_depths(self) -> dict[nn.Parameter, int]:
        """Return the depth of each parameter, for layer-wise learning rates.

        0: patch embedding, class token and positions; i + 1: block i and its tuning; the number of
        blocks + 1: prompts and the final norm.
        """
        depths = dict.fromkeys(self.parameters(), 0)
        for index, block in enumerate(self.network.blocks):
            depths |= dict.fromkeys(block.parameters(), index + 1)
        for name, trained in self.tuning.blocks.items() if self.tuning is not None else ():
            depths |= dict.fromkeys(trained.parameters(), int(name) + 1)
        after = [*self.network.norm.parameters(), *self.prompts.parameters()]
        return depths | dict.fromkeys(after, len(self.network.blocks) + 1)

    @property
    def network(self) -> ColumnarViT:
        """The frozen ViT as it is used here, whatever its family."""
        return adapt(self.vit)

    @property
    def embed_dim(self) -> int:
        """D, token width."""
        return self.network.embed_dim

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels; H and W must be multiples of it."""
        return self.network.patch_size

    def train(self, mode: bool = True) -> "PromptedViT":
        """Set the mode; a frozen ViT stays in evaluation mode."""
        super().train(mode)
        self.vit.train(mode and not self.frozen)
        return self

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the patch grid of an image size in pixels, see `grid_size`."""
        return grid_size(self.patch_size, height, width)

    def forward(self, images: Tensor) -> Tensor:
        """Return patch tokens (B, N, D) of normalized images (B, 3, H, W), row by row."""
        return self.forward_tokens(images)[:, self.network.num_prefix_tokens + self.prompt_length :]

    def forward_tokens(self, images: Tensor) -> Tensor:
        """Return all tokens after the last block, (B, 1 + P + N, D): class token, prompts, patches.

        Blocks before the first prompted or tuned one depend on the image alone and leave no graph.
        """
        return self._run(images)

    def forward_layers(self, images: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the patch tokens (B, N, D) after each of some blocks, without final norms.

        Blocks behind the last of them do not run.

        Args:
            images: normalized, (B, 3, H, W).
            layers: ascending block indexes, see `check_layers`.
        """
        kept: dict[int, Tensor] = {}
        self._run(images, layers, kept)
        return [kept[index] for index in layers]

    def check_layers(self, layers: Sequence[int]) -> None:
        """Check block indexes for `forward_layers`.

        Raises:
            InputError: they are not ascending, outside the depth, or end before a block in which
                something is trained, which would get no gradient.
        """
        last = len(self.network.blocks) - 1
        is_valid = all(type(index) is int and 0 <= index <= last for index in layers)
        if not layers or not is_valid or list(layers) != sorted(set(layers)):
            raise InputError(
                f"layers must be ascending block indexes in [0, {last}], as the ViT has "
                f"{last + 1} blocks, got {list(layers)}.",
                parameter="layers",
            )
        read = layers[-1]
        idle = {"placement": ("prompts", [i for i in map(int, self.prompts) if i > read])}
        if self.tuning is not None:
            end = read - self.tuning.shows_in_next_block
            behind = [i for i in map(int, self.tuning.blocks) if i > end]
            idle["tuning.placement"] = (self.tuning.name, behind)
        if not self.frozen:
            idle["frozen=False"] = ("training", list(range(read + 1, last + 1)))
        for setting, (what, blocks) in idle.items():
            if blocks:
                names = ", ".join(map(str, sorted(blocks)))
                raise InputError(
                    f"layers end with block {read}, so {what} in block {names} ({setting}) would "
                    f"have no effect and no gradient; add {last} to layers, or train only earlier "
                    "blocks.",
                    parameter="layers",
                )

    def prefix_tokens(self, images: Tensor) -> Tensor:
        """Return the tokens that enter the first prompted or tuned block, (B, 1 + N, D).

        Those of a frozen ViT depend on the image alone. Without prompts and tuning they are all
        tokens after the last block.

        Args:
            images: normalized, (B, 3, H, W).
        """
        return self._run_prefix(images, self._positions_of(images))

    def finish(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Return all tokens after the last block, (B, 1 + P + N, D), of `prefix_tokens`.

        Args:
            tokens: (B, 1 + N, D).
            grid: patch grid (h, w) of the images; None: they are square.

        Raises:
            InputError: there are not as many patches as the grid has.
        """
        return self._run_rest(tokens, self.network.positions(self._check_grid(tokens, grid)))

    def _run(
        self,
        images: Tensor,
        layers: Sequence[int] = (),
        kept: dict[int, Tensor] | None = None,
    ) -> Tensor:
        """Return all tokens after the last block that runs.

        Args:
            images: normalized, (B, 3, H, W).
            layers: blocks whose patch tokens are kept; () keeps none and runs all blocks.
            kept: takes them, by block index.
        """
        positions = self._positions_of(images)
        tokens = self._run_prefix(images, positions, layers, kept)
        return self._run_rest(tokens, positions, layers, kept)

    def _run_prefix(
        self,
        images: Tensor,
        positions: Any,
        layers: Sequence[int] = (),
        kept: dict[int, Tensor] | None = None,
    ) -> Tensor:
        stop = min(self.first_trained_block, self._num_run(layers))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            network = self.network
            tokens = embed_images(self.vit, images)
            for index in range(stop):
                tokens = self._run_block(network, index, tokens, positions, 0)
                if kept is not None and index in layers:
                    kept[index] = tokens[:, network.num_prefix_tokens :]
        return tokens

    def _run_rest(
        self,
        tokens: Tensor,
        positions: Any,
        layers: Sequence[int] = (),
        kept: dict[int, Tensor] | None = None,
    ) -> Tensor:
        network = self.network if self.tuning is None else adapt(self.tuning.tuned(self.vit))
        num_prefix, num_prompts = network.num_prefix_tokens, 0
        for index in range(self.first_trained_block, self._num_run(layers)):
            if str(index) in self.prompts:
                tokens = insert_prompts(
                    tokens, self._make_prompts(index, tokens, num_prompts), num_prefix, num_prompts
                )
                num_prompts = self.prompt_length
            tokens = self._run_block(network, index, tokens, positions, num_prompts)
            if kept is not None and index in layers:
                kept[index] = tokens[:, num_prefix + num_prompts :]
        return tokens

    def _positions_of(self, images: Tensor) -> Any:
        """Return the positions of the patches of images, which all blocks of a pass share."""
        return self.network.positions(self.grid_size(*images.shape[-2:]))

    def _make_prompts(self, index: int, tokens: Tensor, num_earlier: int) -> Tensor:
        """Return the prompts of a block, (B, P, D), of the tokens that enter it."""
        prompt: Any = self.prompts[str(index)]
        if prompt.ignores_image:
            return self.prompt_dropout(prompt(tokens.shape[0]))
        first = self.network.num_prefix_tokens
        if num_earlier:  # earlier prompts are about to be replaced
            tokens = torch.cat([tokens[:, :first], tokens[:, first + num_earlier :]], dim=1)
        return self.prompt_dropout(prompt(tokens.shape[0], tokens))

    def _check_grid(self, tokens: Tensor, grid: tuple[int, int] | None) -> tuple[int, int]:
        num_patches = tokens.shape[1] - self.network.num_prefix_tokens
        height, width = grid or (math.isqrt(num_patches),) * 2
        if height * width != num_patches:
            raise InputError(f"{num_patches} patches are no grid of {height}x{width}; give theirs.")
        return height, width

    def _num_run(self, layers: Sequence[int]) -> int:
        """Return how many blocks run for some layers, () standing for the last block."""
        return max(layers) + 1 if layers else len(self.network.blocks)

    def merge_tuning(self) -> None:
        """Put what was tuned into a ViT of this model's own, for inference; `tuning` is None then.

        The outputs stay the same up to rounding. Checkpoints of the model before no longer fit it.

        Raises:
            InputError: the method cannot be merged, or its dropout is on.
        """
        if self.tuning is not None:
            self.vit = self.tuning.merged(self.vit)
            self.tuning = None

    def _run_block(
        self, network: ColumnarViT, index: int, tokens: Tensor, positions: Any, num_prompts: int
    ) -> Tensor:
        def run(tokens: Tensor) -> Tensor:
            with attention_kernel(tokens):
                return network.run_block(index, tokens, positions, num_prompts)

        if self.activation_checkpointing and tokens.requires_grad:
            return checkpoint(run, tokens, use_reentrant=False)
        return run(tokens)


def insert_prompts(
    tokens: Tensor, prompts: Tensor, num_prefix_tokens: int, num_replaced: int = 0
) -> Tensor:
    """Insert prompts between the prefix tokens and the patches, replacing those already there.

    Args:
        tokens: (B, num_prefix_tokens + num_replaced + N, D): prefix, old prompts, N patches.
        prompts: (B, P, D), the new prompts.
        num_prefix_tokens: tokens before the prompts, 1 for a class token.
        num_replaced: old prompt tokens to drop, 0 where there are none yet.

    Returns:
        (B, num_prefix_tokens + P + N, D).
    """
    prefix = tokens[:, :num_prefix_tokens]
    patches = tokens[:, num_prefix_tokens + num_replaced :]
    return torch.cat([prefix, prompts.to(tokens.dtype), patches], dim=1)


def _check_prompt(prompt: Prompt, vit: ColumnarViT) -> None:
    if not isinstance(prompt, Prompt):
        raise InputError(
            f"prompt must be a prompt module, or null for none, got '{prompt}'.",
            parameter="prompt",
        )
    if prompt.embed_dim != vit.embed_dim:
        raise InputError(
            f"the prompt has embed_dim={prompt.embed_dim} but the ViT has "
            f"embed_dim={vit.embed_dim}; give the prompt the ViT's.",
            parameter="prompt",
        )


def _check_tuning(tuning: TuningMethod, frozen: bool) -> None:
    if not isinstance(tuning, TuningMethod):
        raise InputError(
            f"tuning must be a tuning method, such as LoRA, or null for none, got '{tuning}'.",
            parameter="tuning",
        )
    if not frozen:
        raise InputError(
            f"{tuning.name} tunes a frozen ViT, but frozen=False trains all of it; set frozen=True "
            "or tuning=null.",
            parameter="tuning",
        )


def _freeze_basis(prompt: Prompt, placement: str | Sequence[int]) -> None:
    if not isinstance(prompt, FactoredPrompt):
        raise InputError(
            f"placement '{placement}' fixes the basis of prompts, but a {type(prompt).__name__} "
            "has none; use a BilinearPrompt or WhitenedPrompt, or placement 'all'.",
            parameter="placement",
        )
    prompt.freeze_basis()


def _sibling(prompt: Prompt) -> Prompt:
    """Return a copy of a prompt module with initial values of its own."""
    sibling = copy.deepcopy(prompt)
    sibling.reset_parameters()
    return sibling
