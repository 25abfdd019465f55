"""Memory model: predicts the GPU memory of a training step.

Weights, gradients and optimizer states are sums over the model, which is built without values.
Activations are what autograd saves in each layer (`SavedActivations`). One number is a fit:
`UNCOUNTED_BYTES_PER_PIXEL`. docs/performance/memory.md compares predictions with measurements.

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
from bpt_det.vit.tuning import TrainedBlocks

from .added_activations import map_bytes, neck_bytes, tuning_bytes
from .cost import weight_bytes
from .saved_activations import FLOAT32_BYTES, SavedActivations, cast_weight_bytes
from .variants import find_vit

# Images, anchors, scores and the start of the backward pass, per pixel of the batch: the mean of
# what four training steps of ViT-B took in addition to all that is modeled
# (docs/performance/memory.md).
UNCOUNTED_BYTES_PER_PIXEL = 55

# Reserved on a card: the CUDA context, and a share for fragmentation.
RESERVED_BYTES = 10**9
RESERVED_SHARE = 0.05

_LARGEST_BATCH = 10**6  # where the search ends
_NUM_STATES = {"AdamW": 2, "Adam": 2, "SGD": 1}  # each as large as the parameter; SGD: momentum


@dataclass(frozen=True)
class MemoryEstimate:
    """Predicted bytes on one GPU during an iteration.

    Args:
        weights: parameters, buffers and their copies, during the whole training.
        optimizer: optimizer states.
        gradients: of all trained parameters; ``peak`` includes those that exist at the peak.
        vit: saved activations of the ViT.
        heads: saved activations of pyramid, RPN and region heads.
        peak: peak activations, without ``weights`` and ``optimizer``.
    """

    weights: int
    optimizer: int
    gradients: int
    vit: int
    heads: int
    peak: int

    @property
    def total(self) -> int:
        """Peak memory of the step."""
        return self.weights + self.optimizer + self.peak


class MemoryModel:
    """Predicts the memory of training the detector of a config.

    Permanent are parameters and buffers, the average of trained parameters if the config has one
    (``train.ema``), and with several GPUs the buffers that gradients are reduced in.

    Args:
        cfg: config of detection with a `PromptedViTBackbone`; ``dataloader.image_size`` pixels are
            the side of its images, and precision auto means bfloat16. Its checkpoint is not read;
            a ViT of timm's name counts as a plain one of the same sizes.
        num_gpus: that train together; the batch size is that of each.

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
                f"memory is predicted for a PromptedViTBackbone, not for a {type(net).__name__}.",
                hint="detection_config",
            )
        self.vit: PromptedViT = net.prompted_vit
        self._layers, self._neck = net.layers, net.neck
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
        """Largest number of regions per image in the mask head."""
        heads = self.detector.roi_heads
        return int(heads.batch_size_per_image * heads.positive_fraction)

    def estimate(self, batch_size: int, mask_regions: int | None = None) -> MemoryEstimate:
        """Return the prediction.

        Args:
            batch_size: B, images on one GPU at a time.
            mask_regions: regions per image in the mask head; None: the largest number, which
                training approaches as its proposals get better.
        """
        if mask_regions is None:
            mask_regions = self.max_mask_regions
        vit = self.vit_bytes(batch_size)
        heads = self._pyramid_bytes(batch_size) + self._region_bytes(batch_size, mask_regions)
        heads += self.neck_bytes(batch_size) + map_bytes(self._neck, self._patches(batch_size))
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
        """Return the largest batch that fits a card; 0: not even one image."""
        return bisect.bisect_right(
            range(1, _LARGEST_BATCH + 1),
            usable_bytes(card_bytes),
            key=lambda batch_size: self.estimate(batch_size, mask_regions).total,
        )

    def vit_bytes(self, batch_size: int, num_blocks: int | None = None) -> int:
        """Return the saved activations of the ViT's output and blocks, or of its first blocks.

        Only blocks that are part of the graph save any. With activation checkpointing they save
        their input, and trained ones the cast weights until the forward pass has ended.
        """
        is_checkpointed = self.vit.activation_checkpointing
        saved = output = self._tokens(batch_size).size
        if not self.vit.frozen:
            images = self._activations(batch_size, self.image_size**2, 3, is_saved=True)
            patch_embed = self.vit.vit.patch_embed
            saved += images.follow([patch_embed.proj]).total
            saved += cast_weight_bytes(patch_embed, self.compute_bytes)
        num_rows = self._tokens(batch_size).rows * self._tokens(batch_size).area
        for index, block in self._blocks()[:num_blocks]:
            whole = self._tokens(batch_size).follow_block(block).total
            whole += tuning_bytes(self.vit, index, num_rows, batch_size, self.compute_bytes)
            saved += output if is_checkpointed else whole
            if not (is_checkpointed and self.vit.frozen):
                saved += cast_weight_bytes(block, self.compute_bytes)
        return saved

    def vit_backward_bytes(self, batch_size: int, num_blocks: int | None = None) -> int:
        """Return the peak of the backward pass in the last of the first ``num_blocks`` blocks.

        In addition to the saved activations these are the gradient of the tokens, its copy in the
        dtype of matrix products, and the gradients on both sides of the MLP's activation. With
        checkpointing also the recomputed activations of the block.
        """
        blocks = self._blocks()[:num_blocks]
        if not blocks:
            return 0
        tokens = self._tokens(batch_size, is_saved=True)
        _, block = blocks[-1]
        hidden = block.mlp.fc1.out_features / self.vit.embed_dim
        numbers = tokens.size // FLOAT32_BYTES
        peak = tokens.size + int(numbers * self.compute_bytes * (1 + 2 * hidden))
        peak += self.vit_bytes(batch_size, len(blocks))
        if self.vit.activation_checkpointing:
            peak += tokens.follow_block(block).total
            if self.vit.frozen:
                peak += cast_weight_bytes(block, self.compute_bytes)
        return peak

    def _blocks(self) -> list[tuple[int, nn.Module]]:
        """Return the blocks that are part of the graph, or their trained copies, by index."""
        tuning, vit = self.vit.tuning, self.vit.vit
        blocks = (tuning.tuned(vit) if isinstance(tuning, TrainedBlocks) else vit).blocks
        stop = self._layers[-1] + 1 if self._layers else len(blocks)
        first = self.vit.first_trained_block if self.vit.frozen else 0
        return [(i, blocks[i]) for i in range(first, stop)]

    def neck_bytes(self, batch_size: int) -> int:
        """Return the saved activations of joined layers and neck blocks, without their output."""
        first = self.vit.first_trained_block if self.vit.frozen else 0
        saved = 0
        for index in self._layers[:-1]:
            # The norm of this layer alone saves its tokens, as no block takes them as they are.
            if index < first or str(index + 1) in self.vit.prompts:
                num_tokens = self.vit.vit.num_prefix_tokens + self._num_patches
                num_tokens += self.vit.prompt_length if index >= first else 0
                saved += batch_size * num_tokens * self.vit.embed_dim * FLOAT32_BYTES
        patches = self._patches(batch_size)
        return saved + neck_bytes(self._neck, patches, self.vit.activation_checkpointing)

    def _patches(self, batch_size: int) -> SavedActivations:
        return self._activations(batch_size, self._num_patches, self.vit.embed_dim)

    def _tokens(self, batch_size: int, *, is_saved: bool = False) -> SavedActivations:
        num_tokens = self.vit.vit.num_prefix_tokens + self.vit.prompt_length + self._num_patches
        return self._activations(batch_size, num_tokens, self.vit.embed_dim, is_saved=is_saved)

    @property
    def _num_patches(self) -> int:
        height, width = self.vit.grid_size(self.image_size, self.image_size)
        return height * width

    def _pyramid_bytes(self, batch_size: int) -> int:
        """Return the saved activations of pyramid and RPN; the pyramid's maps count once."""
        backbone = self.detector.backbone
        saved, areas = 0, []
        for name in backbone._stage_names:
            level = self._activations(
                batch_size, self._num_patches, self.vit.embed_dim, is_saved=True
            )
            saved += level.follow([getattr(backbone, name)]).total
            areas.append(level.area)
        num_top_levels = len(backbone._out_features) - len(areas)
        areas += [areas[-1] // 4 ** (i + 1) for i in range(num_top_levels)]
        hidden = self.detector.proposal_generator.rpn_head.conv
        for area in areas:
            level = self._activations(batch_size, area, self._num_channels, is_saved=True)
            saved += level.size + level.follow([hidden]).total
        return saved

    def _region_bytes(self, batch_size: int, mask_regions: int) -> int:
        """Return the saved activations of the region heads."""
        saved = 0
        for head, num_regions, pooler in self._region_heads(mask_regions):
            side, _ = pooler.output_size
            regions = self._activations(batch_size * num_regions, side**2, self._num_channels)
            saved += regions.follow([head]).total
        return saved

    def _region_heads(self, mask_regions: int) -> Iterator[tuple[nn.Module, int, nn.Module]]:
        """Yield each region head, its regions per image, and its pooler."""
        heads = self.detector.roi_heads
        box_heads = heads.box_head
        for head in box_heads if isinstance(box_heads, nn.ModuleList) else [box_heads]:
            yield head, heads.batch_size_per_image, heads.box_pooler
        if heads.mask_on:
            yield heads.mask_head, mask_regions, heads.mask_pooler

    @property
    def _num_channels(self) -> int:
        return next(iter(self.detector.backbone.output_shape().values())).channels

    def _activations(
        self, rows: int, area: int, width: int, *, is_saved: bool = False
    ) -> SavedActivations:
        return SavedActivations(rows, area, width, self.compute_bytes, is_saved=is_saved)


def usable_bytes(card_bytes: int) -> int:
    """Return the bytes of a card for tensors, see `RESERVED_BYTES` and `RESERVED_SHARE`."""
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
