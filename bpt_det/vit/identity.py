"""Fingerprint of a frozen network."""

import hashlib

from torch import nn

# What decides rotary positions beside weights (timm/layers/pos_embed_sincos.py, `Eva.attn`).
_ROTARY = (
    *("temperature", "grid_offset", "grid_indexing", "ref_feat_shape", "rotate_half", "in_pixels"),
    *("normalize_coords", "min_period", "max_period", "max_res", "linear_bands", "mrope_section"),
)


def fingerprint(vit: nn.Module) -> str:
    """Return a sha256 of all that decides what a ViT computes.

    Its parameters in float32, number of heads, eps of norms, activations other than GELU, and
    settings of rotary positions.
    """
    digest = hashlib.sha256()
    for name, module in vit.named_modules():
        settings = getattr(module, "num_heads", None), getattr(module, "eps", None)
        digest.update(f"{name} {settings}\n".encode())
        activation = getattr(module, "act", None)
        if isinstance(activation, nn.Module) and not isinstance(activation, nn.GELU):
            digest.update(f"{name}.act {type(activation).__name__}\n".encode())
        if hasattr(module, "rotate_half") or hasattr(module, "get_embed"):
            rotary = [getattr(module, setting, None) for setting in _ROTARY]
            digest.update(f"{name} {type(module).__name__} {rotary}\n".encode())
    for name, tensor in sorted(vit.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()
