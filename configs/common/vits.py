"""Settings of larger ViTs for the command line's `vit=`: sizes and weights."""

from bpt_det.vit import ARCHITECTURES

vit_l = dict(**ARCHITECTURES["vit_l"], checkpoint="weights/mae_pretrain_vit_large.pth")
vit_h = dict(**ARCHITECTURES["vit_h"], checkpoint="weights/mae_pretrain_vit_huge.pth")
vit_2b = dict(**ARCHITECTURES["vit_2b"], checkpoint="weights/vit_2b14.pt")  # MAWS

# Of 14-pixel patches, resampled to 16, so that the pyramid has its strides. Apache 2.0.
_dinov2 = dict(pretrain_size=518, pretrained_patch_size=14)
dinov2_b = dict(
    **ARCHITECTURES["vit_b"], **_dinov2, checkpoint="timm:vit_base_patch14_dinov2.lvd142m"
)
dinov2_s = dict(
    **ARCHITECTURES["vit_small"], **_dinov2, checkpoint="timm:vit_small_patch14_dinov2.lvd142m"
)
mae_b = dict(
    **ARCHITECTURES["vit_b"],
    pretrain_size=224,
    pretrained_patch_size=None,
    checkpoint="weights/mae_pretrain_vit_base.pth",
)
