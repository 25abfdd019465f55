"""Masked autoencoder: a ViT learns to fill in the patches that it was not shown.

Shape legend: B batch, H W image size in pixels, N patches, K patches that are kept, D embed_dim of
the encoder, E of the decoder, S patch size.
"""

import zlib
from collections.abc import Sequence
from functools import partial

import torch
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from bpt_det.utils.errors import InputError
from bpt_det.vit.attention import attention_kernel
from bpt_det.vit.embedding import embed_images, grid_size

from .patches import draw_order, mask_of, patch_statistics, take, to_images, to_patches

_LAYER_NORM_EPS = 1e-6


class MaskedAutoencoder(nn.Module):
    """MAE: encode a quarter of the patches, decode all, compare the masked ones with the image.

    Source: arXiv:2111.06377 and facebookresearch/mae models_mae.py. The encoder is timm's ViT with
    its final norm; its sine-cosine positions are fixed. The decoder gets the encoded tokens, one
    learned token in the place of every masked patch, and fixed positions of its own.

    A batch is a list of samples, as Detectron2's models take it: dicts with ``image`` (3, H, W),
    values in [0, 255], all of one size, and in evaluation ``image_id``, which decides what is
    masked. In training torch's global generator does.

    Args:
        encoder: of `build_vit`, for images of one size.
        decoder_embed_dim: E, a multiple of ``decoder_num_heads`` and of 4.
        decoder_num_blocks: number of the decoder's transformer blocks.
        decoder_num_heads: attention heads of each.
        mask_ratio: share of the patches that is masked, in (0, 1).
        normalize_targets: compare with pixels normalized within their patch.
        pixel_mean, pixel_std: of each channel, in [0, 255].
        input_format: order of the channels, RGB; the images are read so.

    Raises:
        InputError: a size does not fit, or the ratio masks no patch or all.
    """

    def __init__(
        self,
        encoder: VisionTransformer,
        *,
        decoder_embed_dim: int = 512,
        decoder_num_blocks: int = 8,
        decoder_num_heads: int = 16,
        mask_ratio: float = 0.75,
        normalize_targets: bool = True,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str = "RGB",
    ) -> None:
        super().__init__()
        if not isinstance(encoder, VisionTransformer) or encoder.pos_embed is None:
            raise InputError(
                f"a masked autoencoder leaves patches out, which {type(encoder).__name__} with "
                "rotary positions cannot; take a plain ViT.",
                parameter="checkpoint",
            )
        grid = encoder.patch_embed.grid_size
        self.num_kept = _count_kept(grid[0] * grid[1], mask_ratio)
        _check_settings(decoder_embed_dim, decoder_num_heads, input_format)
        self.normalize_targets = normalize_targets
        self.mask_ratio = mask_ratio
        self.input_format = input_format
        self.encoder = encoder.requires_grad_(True)
        self.encoder.pos_embed.requires_grad_(False)
        self.decoder_embed = nn.Linear(encoder.embed_dim, decoder_embed_dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, decoder_embed_dim))
        positions = build_sincos2d_pos_embed(grid, decoder_embed_dim)
        self.register_buffer("decoder_positions", positions[None], persistent=False)
        self.decoder_blocks = nn.ModuleList(
            Block(
                decoder_embed_dim,
                decoder_num_heads,
                qkv_bias=True,
                norm_layer=partial(nn.LayerNorm, eps=_LAYER_NORM_EPS),
            )
            for _ in range(decoder_num_blocks)
        )
        self.decoder_norm = nn.LayerNorm(decoder_embed_dim, eps=_LAYER_NORM_EPS)
        patch_size = encoder.patch_embed.patch_size[0]
        self.decoder_pred = nn.Linear(decoder_embed_dim, 3 * patch_size**2)
        self._init_decoder()
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def _init_decoder(self) -> None:
        """Xavier-uniform weights and biases of 0, as published."""
        nn.init.normal_(self.mask_token, std=0.02)
        for name, module in self.named_modules():
            if name.startswith("decoder") and isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    @property
    def checkpoint_settings(self) -> dict[str, float | bool]:
        """What a checkpoint has to agree with and does not show in the shapes of its weights."""
        return {
            "mask_ratio": self.mask_ratio,
            "normalize_targets": self.normalize_targets,
        }

    def forward(self, batch: list[dict]) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Return ``{"loss_mae": mean squared error over the masked patches}`` in training.

        In evaluation the result is a dict for each sample: ``loss`` of its masked patches;
        ``mask`` (N,), True where masked; ``reconstruction`` (3, H, W), in [0, 255], in which only
        the masked patches are the decoder's. Where targets are normalized, their mean and
        deviation are those of the image, which the decoder does not know.

        Raises:
            InputError: the images are not of the encoder's size.
        """
        images = self.normalize(batch)
        self._check_size(images)
        predicted, mask = self.reconstruct(images, self.draw_scores(batch))
        patches = to_patches(images, self._patch_size)
        error = (predicted.float() - self.make_targets(patches)).square().mean(dim=-1)
        if self.training:
            return {"loss_mae": error[mask].mean()}
        losses = (error * mask).sum(dim=1) / mask.sum(dim=1)
        pictures = self.make_pictures(patches, predicted.float(), mask)
        return [
            {"loss": loss, "mask": masked, "reconstruction": picture}
            for loss, masked, picture in zip(losses, mask, pictures, strict=True)
        ]

    def normalize(self, batch: Sequence[dict]) -> Tensor:
        """Return the images of samples, (B, 3, H, W), normalized, on the network's device."""
        images = torch.stack([sample["image"] for sample in batch]).to(self.pixel_mean.device)
        return (images - self.pixel_mean) / self.pixel_std

    def reconstruct(self, images: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return predicted patches (B, N, S * S * 3) and which are masked, (B, N) bool.

        Args:
            images: normalized, (B, 3, H, W).
            scores: (B, N); the K patches of the lowest scores are kept.
        """
        order, restore = draw_order(scores)
        encoded = self.encode(images, order[:, : self.num_kept])
        return self._decode(encoded, restore), mask_of(restore, self.num_kept)

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return the encoder's tokens after its norm, (B, 1 + K, D), class token first.

        Args:
            images: normalized, (B, 3, H, W).
            kept: (B, K), indexes of the patches that are shown; None: all of them.
        """
        tokens = embed_images(self.encoder, images)
        if kept is not None:
            num_prefix = self.encoder.num_prefix_tokens
            prefix, patches = tokens[:, :num_prefix], tokens[:, num_prefix:]
            tokens = torch.cat([prefix, take(patches, kept)], dim=1)
        with attention_kernel(tokens):
            for block in self.encoder.blocks:
                tokens = block(tokens)
        return self.encoder.norm(tokens)

    def _decode(self, encoded: Tensor, restore: Tensor) -> Tensor:
        num_prefix = self.encoder.num_prefix_tokens
        tokens = self.decoder_embed(encoded)
        prefix, shown = tokens[:, :num_prefix], tokens[:, num_prefix:]
        num_masked = restore.shape[1] - shown.shape[1]
        masked = self.mask_token.to(shown.dtype).expand(shown.shape[0], num_masked, -1)
        patches = take(torch.cat([shown, masked], dim=1), restore) + self.decoder_positions
        tokens = torch.cat([prefix, patches.to(prefix.dtype)], dim=1)  # the class token has none
        with attention_kernel(tokens):
            for block in self.decoder_blocks:
                tokens = block(tokens)
        return self.decoder_pred(self.decoder_norm(tokens[:, num_prefix:]))

    def draw_scores(self, batch: list[dict]) -> Tensor:
        """Return scores (B, N) that decide what is masked, see `reconstruct`."""
        num_patches = self.decoder_positions.shape[1]
        device = self.pixel_mean.device
        if self.training:
            return torch.rand(len(batch), num_patches, device=device)
        return torch.stack([_scores_of(sample["image_id"], num_patches) for sample in batch]).to(
            device
        )

    def make_targets(self, patches: Tensor) -> Tensor:
        """Return what predictions are compared with, (B, N, S * S * 3)."""
        if not self.normalize_targets:
            return patches
        mean, deviation = patch_statistics(patches)
        return (patches - mean) / deviation

    def make_pictures(self, patches: Tensor, predicted: Tensor, mask: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [0, 255] with the masked patches as predicted."""
        if self.normalize_targets:
            mean, deviation = patch_statistics(patches)
            predicted = predicted * deviation + mean
        filled = torch.where(mask.unsqueeze(-1), predicted, patches)
        images = to_images(filled, self.encoder.patch_embed.grid_size)
        return (images * self.pixel_std + self.pixel_mean).clamp(0, 255)

    def _check_size(self, images: Tensor) -> None:
        grid = grid_size(self._patch_size, *images.shape[-2:])
        if grid != tuple(self.encoder.patch_embed.grid_size):
            raise InputError(
                f"images of {images.shape[-2]}x{images.shape[-1]} pixels are not of the encoder's "
                f"size {self.encoder.patch_embed.img_size[0]}; set its pretrain_size to the "
                "image_size.",
                parameter="pretrain_size",
            )

    @property
    def _patch_size(self) -> int:
        return self.encoder.patch_embed.patch_size[0]


def _scores_of(image_id: str | int, num_patches: int) -> Tensor:
    """Return scores that depend on the image alone, the same in every run."""
    generator = torch.Generator().manual_seed(
        zlib.crc32(str(image_id).encode("utf-8", "surrogateescape"))
    )
    return torch.rand(num_patches, generator=generator)


def _count_kept(num_patches: int, mask_ratio: float) -> int:
    """Return how many patches the encoder is shown; rounded down, as published."""
    if isinstance(mask_ratio, int | float) and 0 < mask_ratio < 1:
        num_kept = int(num_patches * (1 - mask_ratio))
        if num_kept:
            return num_kept
    raise InputError(
        f"mask_ratio must be in (0, 1) and leave some of the {num_patches} patches to be shown, "
        f"got {mask_ratio!r}.",
        parameter="mask_ratio",
    )


def _check_settings(embed_dim: int, num_heads: int, input_format: str) -> None:
    for divisor, name in ((num_heads, "decoder_num_heads="), (4, "")):
        if embed_dim % divisor:
            raise InputError(
                f"decoder_embed_dim={embed_dim} is not a multiple of {name}{divisor}; choose "
                "another.",
                parameter="decoder_embed_dim",
            )
    if input_format != "RGB":
        raise InputError(
            f"input_format must be RGB for pre-training, got {input_format}.",
            parameter="input_format",
        )
