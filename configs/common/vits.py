"""Settings of larger ViTs for the command line's `vit=`: sizes and weights."""

from bpt_det.vit import ARCHITECTURES

vit_l = dict(**ARCHITECTURES["vit_l"], checkpoint="weights/mae_pretrain_vit_large.pth")
vit_h = dict(**ARCHITECTURES["vit_h"], checkpoint="weights/mae_pretrain_vit_huge.pth")
vit_2b = dict(**ARCHITECTURES["vit_2b"], checkpoint="weights/vit_2b14.pt")  # MAWS
