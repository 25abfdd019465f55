"""Settings of other ViTs for the command line's `vit=`: sizes and weights."""

from bpt_det.vit import ARCHITECTURES, BACKBONES

vit_l = dict(**ARCHITECTURES["vit_l"], checkpoint="weights/mae_pretrain_vit_large.pth")
vit_h = dict(**ARCHITECTURES["vit_h"], checkpoint="weights/mae_pretrain_vit_huge.pth")
vit_2b = dict(**ARCHITECTURES["vit_2b"], checkpoint="weights/vit_2b14.pt")  # MAWS

mae_b = dict(
    **ARCHITECTURES["vit_b"],
    pretrained_patch_size=None,
    checkpoint="weights/mae_pretrain_vit_base.pth",
    architecture=None,
)

# Choices of a detector: timm's backbones (bpt_det/vit/backbones.py), with patches of 16 pixels.
of_detectors = {
    f"vit={name}": {
        "model.backbone.net.vit": backbone.settings(patch_size=16),
        "model.backbone.net.final_norm": backbone.final_norm,
        "model.pixel_mean": backbone.pixel_mean,
        "model.pixel_std": backbone.pixel_std,
    }
    for name, backbone in BACKBONES.items()
}
