"""A frozen Vision Transformer with learned prompts in some of its blocks.

Shape legend: B batch, H W image size in pixels, N patches, P prompt_length, D embed_dim.
"""

import copy
import hashlib

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from bpt_det.errors import InputError
from bpt_det.prompts import insert_prompts, resolve_placement


class PromptedViT(nn.Module):
    """timm's Vision Transformer, frozen, with prompts between its class token and its patches.

    The ViT keeps timm's parameters and modules under `vit`; it stays in evaluation mode and its
    parameters never require a gradient. Each prompted block has its own module in `prompts`, keyed
    by block index. Every block attends globally. The ViT's final norm is not applied.

    Args:
        vit: the network to freeze, built with ``dynamic_img_size=True``.
        prompt: a prompt module, for instance `BilinearPrompt`; the first prompted block takes it,
            each further one a copy with its own initial values. None: no prompts.
        placement: which blocks are prompted, see `resolve_placement`.

    Raises:
        InputError: the prompt's width is not the ViT's, or the placement does not fit its depth.
    """

    def __init__(
        self,
        vit: VisionTransformer,
        prompt: nn.Module | None = None,
        placement: str = "shallow",
    ) -> None:
        super().__init__()
        self.vit = vit.requires_grad_(False).eval()
        self.prompts = nn.ModuleDict()
        self.prompt_length = 0  # P, of the prompts that leave the last block
        self.first_prompted_block = len(vit.blocks)
        where = resolve_placement(placement, len(vit.blocks))
        if prompt is None:
            return
        if prompt.embed_dim != vit.embed_dim:
            raise InputError(
                f"the prompt has embed_dim={prompt.embed_dim} but the ViT has "
                f"embed_dim={vit.embed_dim}; give the prompt the ViT's."
            )
        for index in where.blocks:
            self.prompts[str(index)] = prompt if index == where.first_block else _sibling(prompt)
        self.prompt_length = prompt.prompt_length
        self.first_prompted_block = where.first_block

    @property
    def embed_dim(self) -> int:
        """D, token width."""
        return self.vit.embed_dim

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels; H and W must be multiples of it."""
        return self.vit.patch_embed.patch_size[0]

    def train(self, mode: bool = True) -> "PromptedViT":
        """Set the mode of the prompts; the frozen ViT stays in evaluation mode."""
        super().train(mode)
        self.vit.eval()
        return self

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the patch grid (H / patch_size, W / patch_size) of an image size in pixels.

        Raises:
            InputError: a side is no multiple of the patch size.
        """
        if height % self.patch_size or width % self.patch_size:
            raise InputError(
                f"image size {height}x{width} is not a multiple of patch_size={self.patch_size}; "
                "pad the image first."
            )
        return height // self.patch_size, width // self.patch_size

    def forward(self, images: Tensor) -> Tensor:
        """Return patch tokens (B, N, D) of normalised images (B, 3, H, W), row by row."""
        return self.forward_tokens(images)[:, self.vit.num_prefix_tokens + self.prompt_length :]

    def forward_tokens(self, images: Tensor) -> Tensor:
        """Return all tokens after the last block, (B, 1 + P + N, D): class token, prompts, patches.

        Blocks before the first prompted one depend on the image alone and leave no graph.
        """
        with torch.no_grad():
            tokens = self._embed(images)
            for block in self.vit.blocks[: self.first_prompted_block]:
                tokens = block(tokens)
        num_prompts = 0
        for index in range(self.first_prompted_block, len(self.vit.blocks)):
            if str(index) in self.prompts:
                prompts = self.prompts[str(index)](images.shape[0])
                tokens = insert_prompts(tokens, prompts, self.vit.num_prefix_tokens, num_prompts)
                num_prompts = prompts.shape[1]
            tokens = self.vit.blocks[index](tokens)
        return tokens

    def _embed(self, images: Tensor) -> Tensor:
        """Patch embedding, class token and position, exactly as timm's `forward_features`."""
        self.grid_size(*images.shape[-2:])
        tokens = self.vit._pos_embed(self.vit.patch_embed(images))
        return self.vit.norm_pre(self.vit.patch_drop(tokens))


def fingerprint(vit: nn.Module) -> str:
    """Return a sha256 of what a ViT computes: its parameters in float32, heads and norm's eps."""
    digest = hashlib.sha256()
    for name, module in vit.named_modules():
        settings = getattr(module, "num_heads", None), getattr(module, "eps", None)
        digest.update(f"{name} {settings}\n".encode())
    for name, tensor in sorted(vit.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _sibling(prompt: nn.Module) -> nn.Module:
    """Return a copy of a prompt module with initial values of its own."""
    sibling = copy.deepcopy(prompt)
    sibling.reset_parameters()
    return sibling
