"""Our prompted ViT against the arithmetic of the authors' classification code.

Source: WangYZ1608/BPT@9fc3c78 Models/MAE_bpt_shallow.py and Models/MAE_bpt_deep.py, written anew:
vectors of shape (P, R) lie on a square grid, a 1x1 convolution without bias takes them from R to D
channels, and the tokens stand between the class token and the patches. Deep: every block has its
own, which replace the ones before. Only square P can be compared; ours takes any.
"""

import pytest
import torch
from torch import nn

from bpt_det.prompts import BilinearPrompt
from bpt_det.vit import PromptedViT
from tests.support.vits import TINY_PRETRAIN_SIZE, TINY_SIZES, tiny_vit

EMBED_DIM, NUM_BLOCKS = TINY_SIZES["embed_dim"], TINY_SIZES["num_blocks"]
GRID_SIDE, RANK = 3, 5
PROMPT_LENGTH = GRID_SIDE**2
BATCH_SIZE = 2


class AuthorsPrompt(nn.Module):
    """Vectors and a 1x1 convolution, with values as large as the tokens'."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.vectors = nn.Parameter(torch.randn(1, PROMPT_LENGTH, RANK, generator=generator))
        self.convolution = nn.Conv2d(RANK, EMBED_DIM, kernel_size=1, bias=False)
        nn.init.normal_(self.convolution.weight, generator=generator)

    def forward(self, batch_size):
        grid = self.vectors.expand(batch_size, -1, -1).permute(0, 2, 1)
        grid = grid.reshape(batch_size, RANK, GRID_SIDE, GRID_SIDE)
        return self.convolution(grid).reshape(batch_size, EMBED_DIM, -1).permute(0, 2, 1)


def tokens_of_the_authors(vit, prompts, images):
    """Tokens after the last block; ``prompts`` has one module, or one for each block."""
    patches = vit.patch_embed(images).flatten(1, 2)  # (B, N, D)
    class_tokens = vit.cls_token.expand(len(images), -1, -1)
    tokens = torch.cat([class_tokens, patches], dim=1) + vit.pos_embed
    for index, block in enumerate(vit.blocks):
        if index < len(prompts):
            patches_from = 1 + PROMPT_LENGTH * (index > 0)
            own = prompts[index](len(images))
            tokens = torch.cat([tokens[:, :1], own, tokens[:, patches_from:]], dim=1)
        tokens = block(tokens)
    return tokens


@pytest.fixture(params=["shallow", "all"])
def models(request):
    """The authors' ViT and prompts, and ours with the same values."""
    num_prompts = 1 if request.param == "shallow" else NUM_BLOCKS
    authors = nn.ModuleList(AuthorsPrompt(seed) for seed in range(num_prompts)).double()
    prompt = BilinearPrompt(PROMPT_LENGTH, RANK, EMBED_DIM)
    ours = PromptedViT(tiny_vit(), prompt, request.param).double()
    assert list(ours.prompts) == [str(index) for index in range(num_prompts)]
    for module, published in zip(ours.prompts.values(), authors, strict=True):
        module.coeff.data.copy_(published.vectors.data[0])
        module.basis.data.copy_(published.convolution.weight.data[:, :, 0, 0].T)
    return tiny_vit(), authors, ours


def test_the_tokens_after_the_last_block_are_the_same(models):
    """Of images of the pre-training's size: the authors' code takes no other."""
    vit, authors, ours = models
    images = torch.randn(BATCH_SIZE, 3, TINY_PRETRAIN_SIZE, TINY_PRETRAIN_SIZE).double()
    expected = tokens_of_the_authors(vit, authors, images)
    num_patches = (TINY_PRETRAIN_SIZE // TINY_SIZES["patch_size"]) ** 2
    assert expected.shape == (BATCH_SIZE, 1 + PROMPT_LENGTH + num_patches, EMBED_DIM)
    torch.testing.assert_close(ours.forward_tokens(images), expected)


def test_the_prompts_learn_the_same(models):
    vit, authors, ours = models
    images = torch.randn(BATCH_SIZE, 3, TINY_PRETRAIN_SIZE, TINY_PRETRAIN_SIZE).double()
    tokens_of_the_authors(vit, authors, images).square().mean().backward()
    ours.forward_tokens(images).square().mean().backward()
    for module, published in zip(ours.prompts.values(), authors, strict=True):
        torch.testing.assert_close(module.coeff.grad, published.vectors.grad[0])
        expected = published.convolution.weight.grad[:, :, 0, 0].T
        torch.testing.assert_close(module.basis.grad, expected)
