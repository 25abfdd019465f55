"""The same backbone from Detectron2's older yacs configs, without prompts that need statistics."""

from detectron2.config import CfgNode
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from bpt_det.prompts import BilinearPrompt, FreePrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import ARCHITECTURES, build_vit


def add_bpt_config(cfg: CfgNode) -> None:
    """Add the keys of the prompted ViT, `cfg.MODEL.BPT`, to a yacs config.

    Also sets the input to what the ViTs are pre-trained on: RGB with ImageNet's mean and standard
    deviation in [0, 255], where Detectron2's default is BGR.

    Then ``cfg.MODEL.BACKBONE.NAME`` may be ``PromptedViTBackbone`` (one map) or
    ``build_prompted_vit_pyramid`` (p2 to p6).
    """
    cfg.INPUT.FORMAT = "RGB"
    cfg.MODEL.PIXEL_MEAN = [123.675, 116.28, 103.53]
    cfg.MODEL.PIXEL_STD = [58.395, 57.12, 57.375]
    cfg.MODEL.BPT = CfgNode()
    cfg.MODEL.BPT.ARCHITECTURE = "vit_b"  # a row of bpt_det.vit.ARCHITECTURES
    cfg.MODEL.BPT.PRETRAIN_SIZE = 224  # pixels
    cfg.MODEL.BPT.PATCH_SIZE = 0  # pixels; 0: the architecture's, else its patches are resampled
    cfg.MODEL.BPT.CHECKPOINT = ""  # pre-trained weights, see README.md; empty: seeded random ones
    cfg.MODEL.BPT.PLACEMENT = "shallow"  # a name; yacs takes a list of blocks by assignment only
    cfg.MODEL.BPT.PROMPT = "bilinear"  # bilinear, free or none
    cfg.MODEL.BPT.PROMPT_LENGTH = 100
    cfg.MODEL.BPT.RANK = 100  # of bilinear prompts
    cfg.MODEL.BPT.SCALE_FACTORS = (4.0, 2.0, 1.0, 0.5)
    cfg.MODEL.BPT.SQUARE_PAD = 0  # pixels


def vit_from_config(cfg: CfgNode) -> VisionTransformer:
    """Build the ViT that `cfg.MODEL.BPT` names.

    Raises:
        InputError: the architecture is unknown, or its weights cannot be used.
    """
    bpt = cfg.MODEL.BPT
    if bpt.ARCHITECTURE not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InputError(
            f"MODEL.BPT.ARCHITECTURE '{bpt.ARCHITECTURE}' is unknown; use one of: {known}."
        )
    sizes = ARCHITECTURES[bpt.ARCHITECTURE]
    pretrained_patch_size = sizes["patch_size"]
    return build_vit(
        **{**sizes, "patch_size": bpt.PATCH_SIZE or pretrained_patch_size},
        pretrain_size=bpt.PRETRAIN_SIZE,
        pretrained_patch_size=pretrained_patch_size,
        checkpoint=bpt.CHECKPOINT or None,
    )


def prompt_from_config(cfg: CfgNode, vit: VisionTransformer) -> nn.Module | None:
    """Build the prompt that `cfg.MODEL.BPT` names, at the width of ``vit``.

    Raises:
        InputError: the name is unknown, or a size is out of range.
    """
    bpt = cfg.MODEL.BPT
    if bpt.PROMPT == "none":
        return None
    if bpt.PROMPT == "bilinear":
        return BilinearPrompt(bpt.PROMPT_LENGTH, bpt.RANK, vit.embed_dim)
    if bpt.PROMPT == "free":
        return FreePrompt(bpt.PROMPT_LENGTH, vit.embed_dim, vit.patch_embed.patch_size[0])
    raise InputError(
        f"MODEL.BPT.PROMPT '{bpt.PROMPT}' is unknown; use one of: bilinear, free, none."
    )
