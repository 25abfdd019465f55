"""Fingerprint of a frozen network."""

import hashlib

from torch import nn


def fingerprint(vit: nn.Module) -> str:
    """Return a sha256 of all that decides what a ViT computes.

    Its parameters in float32, number of heads, eps of norms, and activations other than GELU.
    """
    digest = hashlib.sha256()
    for name, module in vit.named_modules():
        settings = getattr(module, "num_heads", None), getattr(module, "eps", None)
        digest.update(f"{name} {settings}\n".encode())
        activation = getattr(module, "act", None)
        if isinstance(activation, nn.Module) and not isinstance(activation, nn.GELU):
            digest.update(f"{name}.act {type(activation).__name__}\n".encode())
    for name, tensor in sorted(vit.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()
