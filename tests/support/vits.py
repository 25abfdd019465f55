"""Tiny ViTs, and weight files in the official MAE layout.

The command line writes a file of random values, for trying a full-size config:

    python -m tests.support.vits --output mae_random_vit_base.pth
"""

import argparse
import http.server
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.vit import ARCHITECTURES, build_vit

# All sizes differ from each other; 24 x 24 pixels are a grid of 6 x 6 patches.
TINY_SIZES = {"embed_dim": 12, "num_blocks": 5, "num_heads": 3, "patch_size": 4}
TINY_PRETRAIN_SIZE = 24


def tiny_vit(dtype: torch.dtype = torch.float64, **overrides) -> VisionTransformer:
    """Build a ViT of about ten thousand parameters, none of which is at its initial 0 or 1."""
    sizes = {**TINY_SIZES, "pretrain_size": TINY_PRETRAIN_SIZE, **overrides}
    vit = build_vit(**sizes).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in vit.parameters():
        parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return vit.to(dtype)


class FolderServer(http.server.ThreadingHTTPServer):
    """HTTP server of a folder on the loopback interface, in a thread; records the requests.

    Use it in a ``with`` statement, with ``no_proxy=*`` in the environment.
    """

    def __init__(self, folder: Path) -> None:
        paths = self.requested_paths = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args) -> None:
                super().__init__(*args, directory=str(folder))

            def log_message(self, *args) -> None:
                paths.append(self.path)

        super().__init__(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def __exit__(self, *args) -> None:
        self.stop()

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


def count_parameters(module: torch.nn.Module) -> int:
    """Return the number of all values, trained or not."""
    return sum(parameter.numel() for parameter in module.parameters())


def write_mae_file(
    path: Path, vit_kwargs: dict, with_decoder: bool = False, seed: int = 0
) -> dict[str, Tensor]:
    """Write ``{"model": state}`` with official names, random values, and return the state.

    Args:
        path: file to write.
        vit_kwargs: sizes as `build_vit` takes them, ``pretrain_size`` included (default 224).
        with_decoder: also what the visualization files hold: `mask_token` and `decoder_*`.
        seed: of the values.
    """
    state = random_state(_mae_shapes(with_decoder=with_decoder, **vit_kwargs), seed)
    torch.save({"model": state}, path)
    return state


def random_state(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Return small values under the given names; the scales of norms lie around 1."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        is_norm_weight = "norm" in name and name.endswith("weight")
        state[name] = torch.randn(shape, generator=generator) * 0.02 + float(is_norm_weight)
    return state


def timm_state(vit_kwargs: dict, seed: int = 0) -> dict[str, Tensor]:
    """Return random weights of a ViT without a head under timm's names."""
    return random_state(_mae_shapes(**vit_kwargs), seed)


def _mae_shapes(
    embed_dim: int,
    num_blocks: int,
    num_heads: int,
    patch_size: int,
    pretrain_size: int = 224,
    with_decoder: bool = False,
) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of facebookresearch/mae models_mae.py, in its order."""
    num_positions = (pretrain_size // patch_size) ** 2 + 1
    shapes = {
        "cls_token": (1, 1, embed_dim),
        "pos_embed": (1, num_positions, embed_dim),
        "patch_embed.proj.weight": (embed_dim, 3, patch_size, patch_size),
        "patch_embed.proj.bias": (embed_dim,),
    }
    for index in range(num_blocks):
        shapes |= _block_shapes(f"blocks.{index}", embed_dim)
    shapes |= {"norm.weight": (embed_dim,), "norm.bias": (embed_dim,)}
    if not with_decoder:
        return shapes
    width = 2 * num_heads  # anything but embed_dim
    shapes |= {
        "mask_token": (1, 1, width),
        "decoder_pos_embed": (1, num_positions, width),
        "decoder_embed.weight": (width, embed_dim),
        "decoder_embed.bias": (width,),
        **_block_shapes("decoder_blocks.0", width),
        "decoder_norm.weight": (width,),
        "decoder_norm.bias": (width,),
        "decoder_pred.weight": (3 * patch_size**2, width),
        "decoder_pred.bias": (3 * patch_size**2,),
    }
    return shapes


def _block_shapes(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    shapes = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
    }
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="vit_b")
    parser.add_argument("--pretrain-size", type=int, default=224, help="pixels")
    parser.add_argument("--with-decoder", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    vit_kwargs = {**ARCHITECTURES[args.architecture], "pretrain_size": args.pretrain_size}
    state = write_mae_file(args.output, vit_kwargs, args.with_decoder, args.seed)
    sys.stdout.write(f"{len(state)} random tensors in {args.output}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
