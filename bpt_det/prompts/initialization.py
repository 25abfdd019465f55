"""Initial values of prompts: VPT's uniform ones, and SPT's from tokens of training images.

Source of the latter: Wang et al., "Revisiting the Power of Prompt for Visual Tuning" (ICML 2024);
the pools are over consecutive windows of an image's tokens, as in its code
(WangYZ1608/Self-Prompt-Tuning@ce0754f train_MAE.py). Shape legend: I images, T tokens and N patch
tokens of an image, P prompt_length, D embed_dim.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bpt_det.utils.errors import InputError

COEFF_STD = 0.02  # of coefficients and of whitened prompts, as of MAE's class token


@dataclass(frozen=True)
class BlockStatistics:
    """Statistics of the tokens that reach one block of a ViT without prompts.

    Attributes:
        second_moment: (D, D), float64, of M Xᵀ over tokens, not centered; M = Wq Wkᵀ of the block
            and X its tokens after the block's first norm. None: not collected.
        num_tokens: number of tokens that it was taken over.
        tokens: (I, N, D), patch tokens of some images as they enter the block, in raster order.
            None: not collected.
        token_rms: root mean square of the entries of all tokens that enter the block.
        patch_size: side of the ViT's patches in pixels.
        patch_embeddings: (I, N, D), ``tokens`` before their positions are added. None: not
            collected, or not block 0.
        published_interaction: (D, T), of `published_interaction`; None: not collected.
    """

    second_moment: Tensor | None
    num_tokens: int
    tokens: Tensor | None
    token_rms: float
    patch_size: int
    patch_embeddings: Tensor | None = None
    published_interaction: Tensor | None = None


def uniform_bound(patch_size: int, embed_dim: int) -> float:
    """Return VPT's bound, sqrt(6 / (3 · patch_size² + D)): Xavier's for the patch embedding."""
    return math.sqrt(6 / (3 * patch_size**2 + embed_dim))


def random_sample(tokens: Tensor, prompt_length: int, generator: torch.Generator) -> Tensor:
    """Return P different tokens (P, D) out of all of (I, N, D)."""
    candidates = tokens.flatten(end_dim=1)
    return candidates[torch.randperm(len(candidates), generator=generator)[:prompt_length]]


def mean_pool(tokens: Tensor, prompt_length: int, generator: torch.Generator) -> Tensor:
    """Return P means (P, D), drawn out of those of P windows of every image."""
    windows = [window.mean(dim=1) for window in tokens.tensor_split(prompt_length, dim=1)]
    return random_sample(torch.stack(windows, dim=1), prompt_length, generator)


def max_pool(tokens: Tensor, prompt_length: int, generator: torch.Generator) -> Tensor:
    """Return P largest values of each dimension (P, D), drawn as by `mean_pool`."""
    windows = [window.amax(dim=1) for window in tokens.tensor_split(prompt_length, dim=1)]
    return random_sample(torch.stack(windows, dim=1), prompt_length, generator)


def kmeans_centers(tokens: Tensor, prompt_length: int, generator: torch.Generator) -> Tensor:
    """Return the centers (P, D) of P clusters of all tokens, by scikit-learn's k-means++."""
    from sklearn.cluster import KMeans  # takes a second to import, and only this needs it

    seed = int(torch.randint(2**31, (), generator=generator))
    kmeans = KMeans(n_clusters=prompt_length, n_init=1, random_state=seed)
    centers = kmeans.fit(tokens.flatten(end_dim=1).double().numpy()).cluster_centers_
    return torch.from_numpy(centers).to(tokens)


TOKEN_INITIALIZATIONS: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "random_sample": random_sample,
    "kmeans": kmeans_centers,
    "mean_pool": mean_pool,
    "max_pool": max_pool,
}


def tokens_to_prompts(
    name: str, tokens: Tensor, prompt_length: int, generator: torch.Generator
) -> Tensor:
    """Return P prompts (P, D) made of patch tokens (I, N, D).

    Args:
        name: a key of `TOKEN_INITIALIZATIONS`.
        tokens: in raster order of each image.
        prompt_length: P.
        generator: of the random choices.

    Raises:
        InputError: there are too few tokens for so many prompts.
    """
    num_images, num_tokens = tokens.shape[:2]
    available = num_tokens if name.endswith("pool") else num_images * num_tokens
    if prompt_length > available:
        source = "an image has" if name.endswith("pool") else "the statistics hold"
        raise InputError(
            f"init '{name}' makes at most as many prompts as {source} tokens, {available}; "
            f"got prompt_length={prompt_length}.",
            parameter="prompt_length",
        )
    return TOKEN_INITIALIZATIONS[name](tokens, prompt_length, generator)
