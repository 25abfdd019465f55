"""Moving the last tokens of a ViT to a mean of 0.

Shape legend: B batch, N patches, D embed_dim.
"""

from collections.abc import Iterable

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.utils.errors import InputError

from .embedding import embed_images


@torch.no_grad()
def center_last_tokens(vit: VisionTransformer, batches: Iterable[Tensor]) -> float:
    """Take the mean of the last block's patch tokens off that block's last bias, in place.

    What a masked autoencoder's last tokens have in common can be several times what tells them
    apart. The norms of a pyramid, which are over the channels of one token, keep that part, and
    heads on a frozen ViT then learn slowly. Attention and all blocks before are not changed; the
    input of the ViT's final norm is.

    Args:
        vit: changed; its last MLP needs a bias.
        batches: normalized images, (B, 3, H, W).

    Returns:
        The root mean square of the mean that was taken off.

    Raises:
        InputError: there are no images.
    """
    total = torch.zeros(vit.embed_dim, dtype=torch.float64)
    count = 0
    for images in batches:
        tokens = embed_images(vit, images)
        for block in vit.blocks:
            tokens = block(tokens)
        patches = tokens[:, vit.num_prefix_tokens :].double()
        total += patches.sum(dim=(0, 1)).cpu()
        count += patches.shape[0] * patches.shape[1]
    if not count:
        raise InputError("tokens cannot be centered without images; give at least one.")
    mean = total / count
    bias = vit.blocks[-1].mlp.fc2.bias
    bias -= mean.to(bias)
    return mean.square().mean().sqrt().item()
