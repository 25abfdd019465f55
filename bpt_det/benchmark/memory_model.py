"""What an iteration of training will take of a GPU's memory, by calculation.

Weights, gradients and optimizer states are sums over the model, which is built without values. Of
activations it is added up what autograd keeps of each layer (`KeptBytes`). One number is a fit:
`UNCOUNTED_BYTES_PER_PIXEL`. docs/memory.md compares predictions with measurements.

Shape legend: B batch, T tokens, D embed_dim.
"""

import bisect
import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from detectron2.config import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from bpt_det.detection import PromptedViTBackbone
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT

from .peak_memory import weight_bytes
from .saved_activations import FLOAT32_BYTES, KeptBytes, cast_weight_bytes
from .variants import find_vit

# Images, anchors, scores and the start of the backward pass, for each pixel of the batch: the mean
# of what four training steps of ViT-B took beside all that is counted (docs/memory.md).
UNCOUNTED_BYTES_PER_PIXEL = 55

# Set aside of a card: the CUDA context, and a share for memory that is free but in pieces.
RESERVED_BYTES = 10**9
RESERVED_SHARE = 0.05

_LARGEST_BATCH = 10**6  # where the search ends
_NUM_STATES = {"AdamW": 2, "Adam": 2, "SGD": 1}  # each as large as the parameter; SGD: momentum


@dataclass(frozen=True)
class MemoryEstimate:
    """Predicted bytes on one GPU during an iteration.

    Args:
        weights: what `MemoryModel` holds all the time beside the optimizer's states.
        optimizer: its states.
        gradients: of all trained parameters; ``peak`` has those that are there at that moment.
        vit: what is kept of the ViT from the forward to the backward pass.
        heads: what is kept of pyramid, RPN and heads of regions.
        peak: the most beside ``weights`` and ``optimizer``.
    """

    weights: int
    optimizer: int
    gradients: int
    vit: int
    heads: int
    peak: int

    @property
    def total(self) -> int:
        """The most at all."""
        return self.weights + self.optimizer + self.peak


class MemoryModel:
    """Predicts the memory of training the detector of a config.

    Held all the time are parameters and buffers, the average of trained parameters if the config
    has one (``train.ema``), and with several GPUs the buffers through which they share gradients.

    Args:
        cfg: config of detection with a `PromptedViTBackbone`; ``dataloader.image_size`` pixels are
            the side of its images, and precision auto means bfloat16. Its checkpoint is not read;
            a ViT of timm's name counts as a plain one of the same sizes.
        num_gpus: that train it; each has the batch that is asked about.

    Raises:
        InputError: the config is not of that kind, or its parts do not fit each other.
    """

    def __init__(self, cfg: DictConfig, num_gpus: int = 1) -> None:
        cfg = copy.deepcopy(cfg)
        find_vit(cfg).checkpoint = None
        with torch.device("meta"):
            self.detector = instantiate(cfg.model)
        net = self.detector.backbone.net
        if not isinstance(net, PromptedViTBackbone):
            raise InputError(
                f"memory is predicted of a PromptedViTBackbone, not of a {type(net).__name__}; "
                "give a config such as configs/coco/cascade_bpt_s.py."
            )
        self.vit: PromptedViT = net.prompted_vit
        self.image_size = cfg.dataloader.image_size
        self.compute_bytes = FLOAT32_BYTES if cfg.train.precision == "float32" else 2
        self._trained = _trained_bytes(self.detector)
        num_copies = (num_gpus > 1) + (OmegaConf.select(cfg, "train.ema.decay") is not None)
        self._weights = weight_bytes(self.detector) + num_copies * self._trained
        self._optimizer = _num_states(cfg) * self._trained
        self._is_fused = bool(cfg.optimizer.get("fused"))
        self._is_accumulating = OmegaConf.select(cfg, "train.accumulate_steps", default=1) > 1

    @property
    def max_mask_regions(self) -> int:
        """The most regions of an image that the mask head sees."""
        heads = self.detector.roi_heads
        return int(heads.batch_size_per_image * heads.positive_fraction)

    def estimate(self, batch_size: int, mask_regions: int | None = None) -> MemoryEstimate:
        """Return the prediction.

        Args:
            batch_size: B, images on one GPU at a time.
            mask_regions: of an image that the mask head sees; None: the most that it may, which a
                training comes near to as its proposals get better.
        """
        if mask_regions is None:
            mask_regions = self.max_mask_regions
        vit = self.vit_bytes(batch_size)
        heads = self._pyramid_bytes(batch_size) + self._region_bytes(batch_size, mask_regions)
        heads += cast_weight_bytes(self.detector, self.compute_bytes)
        heads -= cast_weight_bytes(self.vit, self.compute_bytes)
        uncounted = UNCOUNTED_BYTES_PER_PIXEL * self.image_size**2 * batch_size
        of_heads = self._trained - _trained_bytes(self.vit)
        moments = (
            vit + heads + uncounted + self._is_accumulating * self._trained,  # backward begins
            of_heads + self.vit_backward_bytes(batch_size),  # it reaches the ViT
            self._trained + self.vit_backward_bytes(batch_size, num_blocks=1),  # and its first one
            (1 if self._is_fused else 2) * self._trained,  # the optimizer steps
        )
        return MemoryEstimate(
            self._weights, self._optimizer, self._trained, vit, heads, max(moments)
        )

    def largest_batch(self, card_bytes: int, mask_regions: int | None = None) -> int:
        """Return how many images at most fit a card beside what is set aside; 0: not even one."""
        return bisect.bisect_right(
            range(1, _LARGEST_BATCH + 1),
            usable_bytes(card_bytes),
            key=lambda batch_size: self.estimate(batch_size, mask_regions).total,
        )

    def vit_bytes(self, batch_size: int, num_blocks: int | None = None) -> int:
        """Return what is kept of the ViT's blocks, or the first so many of them, and its output.

        Only blocks that leave a graph keep anything. With activation checkpointing they keep what
        enters them, and trained ones the cast weights until the forward pass has ended.
        """
        is_checkpointed = self.vit.activation_checkpointing
        kept = output = self._tokens(batch_size).size
        if not self.vit.frozen:
            images = self._way(batch_size, self.image_size**2, 3, is_kept=True)
            patch_embed = self.vit.vit.patch_embed
            kept += images.follow([patch_embed.proj]).total
            kept += cast_weight_bytes(patch_embed, self.compute_bytes)
        for block in self._blocks()[:num_blocks]:
            whole = self._tokens(batch_size).follow_block(block).total
            kept += output if is_checkpointed else whole
            if not (is_checkpointed and self.vit.frozen):
                kept += cast_weight_bytes(block, self.compute_bytes)
        return kept

    def vit_backward_bytes(self, batch_size: int, num_blocks: int | None = None) -> int:
        """Return the most that the backward pass takes in the last of so many blocks of the ViT.

        Beside what is kept these are the gradient of the tokens, its copy in the dtype of matrix
        products, and the gradients on both sides of the MLP's activation. With checkpointing also
        what the block keeps, which has been computed again.
        """
        blocks = self._blocks()[:num_blocks]
        if not blocks:
            return 0
        tokens = self._tokens(batch_size, is_kept=True)
        hidden = blocks[-1].mlp.fc1.out_features / self.vit.embed_dim
        numbers = tokens.size // FLOAT32_BYTES
        taken = tokens.size + int(numbers * self.compute_bytes * (1 + 2 * hidden))
        taken += self.vit_bytes(batch_size, len(blocks))
        if self.vit.activation_checkpointing:
            taken += tokens.follow_block(blocks[-1]).total
            if self.vit.frozen:
                taken += cast_weight_bytes(blocks[-1], self.compute_bytes)
        return taken

    def _blocks(self) -> list[nn.Module]:
        """Return the blocks that leave a graph."""
        return list(self.vit.vit.blocks[self.vit.first_prompted_block if self.vit.frozen else 0 :])

    def _tokens(self, batch_size: int, *, is_kept: bool = False) -> KeptBytes:
        num_tokens = self.vit.vit.num_prefix_tokens + self.vit.prompt_length + self._num_patches
        return self._way(batch_size, num_tokens, self.vit.embed_dim, is_kept=is_kept)

    @property
    def _num_patches(self) -> int:
        height, width = self.vit.grid_size(self.image_size, self.image_size)
        return height * width

    def _pyramid_bytes(self, batch_size: int) -> int:
        """Return what is kept of the pyramid and the RPN; the pyramid's maps are in it once."""
        backbone = self.detector.backbone
        kept, areas = 0, []
        for name in backbone._stage_names:
            level = self._way(batch_size, self._num_patches, self.vit.embed_dim, is_kept=True)
            kept += level.follow([getattr(backbone, name)]).total
            areas.append(level.area)
        num_top_levels = len(backbone._out_features) - len(areas)
        areas += [areas[-1] // 4 ** (i + 1) for i in range(num_top_levels)]
        hidden = self.detector.proposal_generator.rpn_head.conv
        for area in areas:
            level = self._way(batch_size, area, self._num_channels, is_kept=True)
            kept += level.size + level.follow([hidden]).total
        return kept

    def _region_bytes(self, batch_size: int, mask_regions: int) -> int:
        """Return what is kept of the heads of regions."""
        kept = 0
        for head, num_regions, pooler in self._region_heads(mask_regions):
            side, _ = pooler.output_size
            regions = self._way(batch_size * num_regions, side**2, self._num_channels)
            kept += regions.follow([head]).total
        return kept

    def _region_heads(self, mask_regions: int) -> Iterator[tuple[nn.Module, int, nn.Module]]:
        """Yield each head, its regions of an image, and what cuts them out."""
        heads = self.detector.roi_heads
        box_heads = heads.box_head
        for head in box_heads if isinstance(box_heads, nn.ModuleList) else [box_heads]:
            yield head, heads.batch_size_per_image, heads.box_pooler
        if heads.mask_on:
            yield heads.mask_head, mask_regions, heads.mask_pooler

    @property
    def _num_channels(self) -> int:
        return next(iter(self.detector.backbone.output_shape().values())).channels

    def _way(self, rows: int, area: int, width: int, *, is_kept: bool = False) -> KeptBytes:
        return KeptBytes(rows, area, width, self.compute_bytes, is_kept=is_kept)


def usable_bytes(card_bytes: int) -> int:
    """Return what of a card is left for tensors, see `RESERVED_BYTES` and `RESERVED_SHARE`."""
    return int(card_bytes * (1 - RESERVED_SHARE)) - RESERVED_BYTES


def _trained_bytes(module: nn.Module) -> int:
    return sum(p.nbytes for p in module.parameters() if p.requires_grad)


def _num_states(cfg: DictConfig) -> int:
    target = cfg.optimizer._target_
    name = getattr(target, "__name__", str(target).rpartition(".")[2])
    if name not in _NUM_STATES:
        known = ", ".join(_NUM_STATES)
        raise InputError(f"the states of optimizer {name} are not known, only of {known}.")
    return _NUM_STATES[name]
