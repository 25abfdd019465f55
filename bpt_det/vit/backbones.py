"""Table of backbones: pre-trained networks of timm's by a short name, with what a config needs.

Read by the configs (``vit=dinov3_b``), the documentation and the tests, which compare it with timm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_NORMALIZATIONS = {"imagenet": _IMAGENET, "clip": _CLIP, "half": _HALF}

# Sizes: embed_dim, num_blocks, num_heads.
_SIZES = {
    "tiny": (192, 12, 3),
    "s": (384, 12, 6),
    "b": (768, 12, 12),
    "l": (1024, 24, 16),
    "h_plus": (1280, 32, 20),
    "7b": (4096, 40, 32),
}


@dataclass(frozen=True)
class Backbone:
    """A pre-trained network of timm's.

    Attributes:
        name: as a config names it, ``vit=NAME``.
        timm_name: timm's, with the tag of the weights.
        license: of the weights, as timm states it.
        embed_dim, num_blocks, num_heads, patch_size: sizes; the last in pixels.
        image_size: side in pixels of the square images of its grid of positions.
        normalization: of its images: ``imagenet``, ``clip``, or ``half`` (mean and deviation 0.5).
        final_norm: whether its authors apply the final norm to features for dense tasks.
        has_run: whether it has run here with its published weights; else its architecture has, with
            random ones.
    """

    name: str
    timm_name: str
    license: str
    embed_dim: int
    num_blocks: int
    num_heads: int
    patch_size: int
    image_size: int
    normalization: str
    final_norm: bool
    has_run: bool = False

    @property
    def architecture(self) -> str:
        """timm's name without the tag."""
        return self.timm_name.partition(".")[0]

    @property
    def pixel_mean(self) -> list[float]:
        """Mean of each channel, RGB in [0, 255]."""
        return to_pixels(_NORMALIZATIONS[self.normalization][0])

    @property
    def pixel_std(self) -> list[float]:
        """Standard deviation of each channel, RGB in [0, 255]."""
        return to_pixels(_NORMALIZATIONS[self.normalization][1])

    @property
    def layers(self) -> list[int]:
        """Indexes of the last blocks of the four quarters of the depth."""
        return [self.num_blocks * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]

    def settings(self, patch_size: int | None = None) -> dict[str, Any]:
        """Return the arguments of `build_vit`.

        Args:
            patch_size: side in pixels that patches are resampled to; None: the published one.
        """
        is_resampled = patch_size not in (None, self.patch_size)
        return {
            "embed_dim": self.embed_dim,
            "num_blocks": self.num_blocks,
            "num_heads": self.num_heads,
            "patch_size": patch_size or self.patch_size,
            "pretrained_patch_size": self.patch_size if is_resampled else None,
            "architecture": self.architecture,
            "checkpoint": f"timm:{self.timm_name}",
        }


def to_pixels(values: Sequence[float]) -> list[float]:
    """Return numbers of [0, 1] in [0, 255], rounded as configs write them."""
    return [round(255 * value, 3) for value in values]


def _row(
    name: str,
    size: str,
    timm_name: str,
    patch_and_image: tuple[int, int],
    license: str,
    normalization: str,
    *,
    final_norm: bool = False,
    has_run: bool = False,
) -> Backbone:
    sizes = (*_SIZES[size], *patch_and_image)
    return Backbone(name, timm_name, license, *sizes, normalization, final_norm, has_run)


_DINOV3, _APACHE, _MIT = "dinov3-license", "apache-2.0", "mit"
_V3 = ((16, 256), _DINOV3, "imagenet")
_V2 = ((14, 518), _APACHE, "imagenet")
# Above the rows of each family: where its authors say mean, deviation and final norm, looked up on
# 2026-11-29. Final norm is what they do for dense tasks; off where they do none, or do not say.
_ROWS = (
    # facebookresearch/dinov3@6876159. README.md, "Image transforms": ImageNet's for LVD-1689M.
    # `get_intermediate_layers` (dinov3/models/vision_transformer.py) has norm=True, and the
    # detector (eval/detection/models/backbone.py) calls it so and adds a trained norm for each
    # layer, as `LayerJoin` does; depth and segmentation have use_backbone_norm=True.
    _row("dinov3_s", "s", "vit_small_patch16_dinov3.lvd1689m", *_V3, final_norm=True),
    _row("dinov3_b", "b", "vit_base_patch16_dinov3.lvd1689m", *_V3, final_norm=True),
    _row("dinov3_l", "l", "vit_large_patch16_dinov3.lvd1689m", *_V3, final_norm=True),
    _row("dinov3_h_plus", "h_plus", "vit_huge_plus_patch16_dinov3.lvd1689m", *_V3, final_norm=True),
    _row("dinov3_7b", "7b", "vit_7b_patch16_dinov3.lvd1689m", *_V3, final_norm=True),
    # facebookresearch/dinov2@b8931f7. dinov2/data/transforms.py: ImageNet's. Segmentation
    # (notebooks/semantic_segmentation.ipynb) has the final norm, depth (dinov2/hub/depthers.py,
    # norm=False) has not; there is no detector.
    _row("dinov2_s", "s", "vit_small_patch14_dinov2.lvd142m", *_V2, final_norm=True),
    _row("dinov2_b", "b", "vit_base_patch14_dinov2.lvd142m", *_V2, final_norm=True),
    _row("dinov2_l", "l", "vit_large_patch14_dinov2.lvd142m", *_V2, final_norm=True),
    # baaivision/EVA@5623d08, EVA-02/. asuka/datasets.py: CLIP's in pre-training (their detectors,
    # fine-tuned as a whole, have ImageNet's). det/**/modeling/backbone/vit.py returns the
    # last block's output, and seg/backbone/eva2.py too: no final norm.
    _row("eva02_s", "s", "eva02_small_patch14_224.mim_in22k", (14, 224), _MIT, "clip"),
    _row("eva02_b", "b", "eva02_base_patch14_224.mim_in22k", (14, 224), _MIT, "clip"),
    _row("eva02_l", "l", "eva02_large_patch14_224.mim_m38m", (14, 224), _MIT, "clip"),
    # facebookresearch/perception_models@3e352cc. core/vision_encoder/transforms.py: 0.5 and 0.5
    # (127 and 127 in the detectors). core/vision_encoder/config.py: PE spatial has no final norm;
    # apps/detection/**/modeling/backbone/pev1_det.py has none for PE core either.
    _row("pe_core_b", "b", "vit_pe_core_base_patch16_224.fb", (16, 224), _APACHE, "half"),
    _row("pe_core_l", "l", "vit_pe_core_large_patch14_336.fb", (14, 336), _APACHE, "half"),
    _row("pe_spatial_s", "s", "vit_pe_spatial_small_patch16_512.fb", (16, 512), _APACHE, "half"),
    _row("pe_spatial_b", "b", "vit_pe_spatial_base_patch16_512.fb", (16, 512), _APACHE, "half"),
    _row("pe_spatial_l", "l", "vit_pe_spatial_large_patch14_448.fb", (14, 448), _APACHE, "half"),
    # naver-ai/rope-vit@ce85c2e. deit/datasets.py: ImageNet's. deit/models_v2_rope.py has a final
    # norm before its classifier; code of dense tasks is not there: they do not say.
    _row("rope_b", "b", "vit_base_patch16_rope_224.naver_in1k", (16, 224), _APACHE, "imagenet"),
    _row(
        "rope_mixed_b",
        "b",
        "vit_base_patch16_rope_mixed_224.naver_in1k",
        (16, 224),
        _APACHE,
        "imagenet",
    ),
    # google-research/big_vision@0127fb6. configs/proj/image_text/SigLIP2_demo.ipynb:
    # value_range(-1, 1). models/vit.py: `encoded`, which the pooling takes, is behind the final
    # norm; code of their dense tasks is not there: they do not say.
    _row("siglip2_b", "b", "vit_base_patch16_siglip_512.v2_webli", (16, 512), _APACHE, "half"),
    # openai/CLIP@d05afc4, whose LICENSE is MIT. clip/clip.py: mean and deviation. clip/model.py:
    # the final norm is of the class token alone; no dense tasks.
    _row("clip_b", "b", "vit_base_patch16_clip_224.openai", (16, 224), _APACHE, "clip"),
    # google-research/vision_transformer@c6de1e5. vit_jax/input_pipeline.py: (x - 127.5) / 127.5.
    # vit_jax/models_vit.py: a final norm before the classifier; no dense tasks.
    _row("supervised_b", "b", "vit_base_patch16_224.augreg_in21k", (16, 224), _APACHE, "half"),
    _row(
        "supervised_tiny",
        "tiny",
        "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        (16, 224),
        _APACHE,
        "half",
        has_run=True,
    ),
)
BACKBONES: dict[str, Backbone] = {row.name: row for row in _ROWS}
