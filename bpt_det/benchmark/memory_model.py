"""Memory model: predicts the GPU memory of a training step.

Weights, gradients and optimizer states are sums over the model, which is built without values.
Activations are what autograd saves: of ViT and neck traced block by block (`traced_bytes`), of
pyramid and heads counted layer by layer (`SavedActivations`). One number is a fit:
`UNCOUNTED_BYTES_PER_PIXEL`. docs/performance/memory.md compares predictions with measurements.

Shape legend: B batch, T tokens, D embed_dim.
"""

import bisect
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from detectron2.config import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from bpt_det.detection import PromptedViTBackbone
from bpt_det.utils.errors import InputError
from bpt_det.vit import ColumnarViT, PromptedViT, adapt

from .cost import weight_bytes
from .saved_activations import FLOAT32_BYTES, SavedActivations, cast_weight_bytes
from .traced_activations import traced_bytes
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
        vit: saved activations of the ViT and of the neck behind it.
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
        self.net = net
        self.vit: PromptedViT = net.prompted_vit
        self.image_size = cfg.dataloader.image_size
        self.compute_bytes = FLOAT32_BYTES if cfg.train.precision == "float32" else 2
        self._trained = _trained_bytes(self.detector)
        num_copies = (num_gpus > 1) + (OmegaConf.select(cfg, "train.ema.decay") is not None)
        self._weights = weight_bytes(self.detector) + num_copies * self._trained
        self._optimizer = _num_states(cfg) * self._trained
        self._is_fused = bool(cfg.optimizer.get("fused"))
        self._traced: dict = {}  # bytes of one and of two images
        self._kinds: dict = {}  # a block of each kind
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
        heads += cast_weight_bytes(self.detector, self.compute_bytes)
        heads -= cast_weight_bytes(self.net, self.compute_bytes)
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

    def vit_bytes(self, batch_size: int) -> int:
        """Return the saved activations of the ViT's output and blocks, and of the neck."""
        return self._blocks_bytes(batch_size) + self._scale(self._trace_neck, batch_size)

    def _blocks_bytes(self, batch_size: int, num_blocks: int | None = None) -> int:
        """Return the saved activations of the ViT's output and blocks, or of its first blocks.

        Only blocks that are part of the graph save any. With activation checkpointing they save
        their input, and trained ones the cast weights until the forward pass has ended.
        """
        saved = self._token_bytes(batch_size)
        if not self.vit.frozen:
            images = self._activations(batch_size, self.image_size**2, 3, is_saved=True)
            patch_embed = self.vit.vit.patch_embed
            saved += images.follow([patch_embed.proj]).total
            saved += cast_weight_bytes(patch_embed, self.compute_bytes)
        for index in self._graph_blocks[:num_blocks]:
            if self.vit.activation_checkpointing:
                saved += self._token_bytes(batch_size) + self._kept_weight_bytes(index)
            else:
                saved += self._block_bytes(index, batch_size)
        return saved

    def vit_backward_bytes(self, batch_size: int, num_blocks: int | None = None) -> int:
        """Return the peak of the backward pass in the last of the first ``num_blocks`` blocks.

        In addition to the saved activations these are the gradient of the tokens, its copy in the
        dtype of matrix products, and the gradients on both sides of the MLP's activation. With
        checkpointing also the recomputed activations of the block.
        """
        indexes = self._graph_blocks[:num_blocks]
        if not indexes:
            return 0
        layers = self._blocks[indexes[-1]].modules()
        hidden = max(layer.out_features for layer in layers if isinstance(layer, nn.Linear))
        tokens = self._token_bytes(batch_size)
        numbers = tokens // FLOAT32_BYTES
        peak = tokens + int(numbers * self.compute_bytes * (1 + 2 * hidden / self.vit.embed_dim))
        peak += self._blocks_bytes(batch_size, len(indexes))
        if self.vit.activation_checkpointing:
            again = self._block_bytes(indexes[-1], batch_size) - tokens
            peak += again - self._kept_weight_bytes(indexes[-1])
        return peak

    @property
    def _graph_blocks(self) -> range:
        """Indexes of the blocks that are part of the graph; those behind the last layer do not run.

        A frozen ViT's begin with the first that is prompted or tuned.
        """
        first = self.vit.first_trained_block if self.vit.frozen else 0
        return range(first, max(self.net.layers, default=len(self._blocks) - 1) + 1)

    @cached_property
    def _tuned_network(self) -> ColumnarViT:
        """The ViT as it runs, with what is tuned in its blocks."""
        tuning = self.vit.tuning
        return adapt(self.vit.vit if tuning is None else tuning.tuned(self.vit.vit))

    @property
    def _blocks(self) -> Sequence[nn.Module]:
        """Blocks of the ViT itself."""
        return self.vit.network.blocks

    def _block_bytes(self, index: int, batch_size: int) -> int:
        """Return the saved activations of a block, its input included and its output not."""
        tuning = self.vit.tuning
        is_tuned = tuning is not None and str(index) in tuning.blocks
        kind = self._num_tokens(index), is_tuned, self._is_input_trained(index)
        if kind not in self._kinds:  # most blocks are of one kind
            self._kinds[kind] = index
        return self._scale(partial(self._trace_block, self._kinds[kind]), batch_size)

    def _trace_block(self, index: int, batch_size: int) -> int:
        tokens = self._meta_tokens(index, batch_size, self._is_input_trained(index))
        network = self._tuned_network
        positions = network.positions(self._grid)
        num_prompts = self._num_tokens(index) - network.num_prefix_tokens - self._num_patches
        return traced_bytes(
            lambda: [network.run_block(index, tokens, positions, num_prompts)],
            self.compute_bytes,
            known=self._weight_tensors,
        )

    def _trace_neck(self, batch_size: int) -> int:
        """Return the saved activations of final norm and neck, the maps that they return included.

        Its inputs that the next block saves, and that of the last one, are counted with these.
        """
        neck, vit = self.net.neck, self.vit
        if neck.join is None and neck.blocks is None and not self.net.final_norm:
            return 0
        layers = self.net.layers or [len(self._blocks) - 1]
        tokens = [self._meta_tokens(i, batch_size, i in self._graph_blocks) for i in layers]
        starts = [t.shape[1] - self._num_patches for t in tokens]
        patches = [t[:, start:] for t, start in zip(tokens, starts, strict=True)]
        maps: list[Tensor] = []

        def run() -> list[Tensor]:
            norm = vit.network.norm if self.net.final_norm else nn.Identity()
            normed = [norm(tokens) for tokens in patches]
            maps.extend(neck(normed, self._grid, checkpointing=vit.activation_checkpointing))
            return maps

        # New prompts make another tensor of the tokens before the next block keeps them.
        counted = [
            t
            for i, t in zip(layers, tokens, strict=True)
            if i in self._graph_blocks and str(i + 1) not in vit.prompts
        ]
        saved = traced_bytes(
            run,
            self.compute_bytes,
            known=self._weight_tensors,
            counted_elsewhere=[*counted, tokens[-1]],
        )
        return saved + sum(m.nbytes for m in maps)

    def _scale(self, trace: Callable[[int], int], batch_size: int) -> int:
        """Return what a trace gives for a batch: constant and linear in the number of images."""
        key = getattr(trace, "func", trace), getattr(trace, "args", ())
        if key not in self._traced:
            self._traced[key] = trace(1), trace(2)
        one, two = self._traced[key]
        return one + (batch_size - 1) * (two - one)

    @cached_property
    def _weight_tensors(self) -> list[Tensor]:
        return [*self.net.parameters(), *self.net.buffers()]

    def _kept_weight_bytes(self, index: int) -> int:
        """Return the cast weights of a checkpointed block that stay until the backward pass."""
        if self.vit.frozen:
            return 0
        return cast_weight_bytes(self._blocks[index], self.compute_bytes)

    def _is_input_trained(self, index: int) -> bool:
        return index > self._graph_blocks.start or str(index) in self.vit.prompts

    def _meta_tokens(self, index: int, batch_size: int, requires_grad: bool) -> Tensor:
        shape = batch_size, self._num_tokens(index), self.vit.embed_dim
        return torch.empty(shape, device="meta", requires_grad=requires_grad)

    def _num_tokens(self, index: int) -> int:
        has_prompts = any(int(prompted) <= index for prompted in self.vit.prompts)
        return (
            self.vit.network.num_prefix_tokens
            + has_prompts * self.vit.prompt_length
            + self._num_patches
        )

    def _token_bytes(self, batch_size: int) -> int:
        """Return the bytes of all tokens after the last block."""
        last = len(self._blocks) - 1
        return batch_size * self._num_tokens(last) * self.vit.embed_dim * FLOAT32_BYTES

    @property
    def _grid(self) -> tuple[int, int]:
        return self.vit.grid_size(self.image_size, self.image_size)

    @property
    def _num_patches(self) -> int:
        return math.prod(self._grid)

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
