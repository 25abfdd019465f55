"""Tiny weight files with the official names and layouts of their publishers.

Each writer returns the tensors under timm's names, as a ViT must hold them after loading.
"""

import argparse
import pickle
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.support.vits import random_state, timm_state

State = dict[str, Tensor]


def write_moco_file(path: Path, vit_kwargs: dict, arch: str = "vit_small") -> State:
    """Write a file as facebookresearch/moco-v3 main_moco.py does: two encoders with heads."""
    width, hidden, dim = vit_kwargs["embed_dim"], 30, 7
    head = {  # three linear layers, the last batch norm without weights
        **_linear_and_norm(0, width, hidden),
        **_linear_and_norm(3, hidden, hidden),
        **_linear_and_norm(6, hidden, dim, affine=False),
    }
    predictor = {**_linear_and_norm(0, dim, hidden), **_linear_and_norm(3, hidden, dim, False)}
    base, momentum = timm_state(vit_kwargs, seed=1), timm_state(vit_kwargs, seed=2)
    state = {
        **_prefixed("module.base_encoder.", base),
        **_prefixed("module.base_encoder.head.", random_state(head, 3)),
        **_prefixed("module.momentum_encoder.", momentum),
        **_prefixed("module.momentum_encoder.head.", random_state(head, 4)),
        **_prefixed("module.predictor.", random_state(predictor, 5)),
    }
    content = {
        "epoch": 300,
        "arch": arch,
        "args": argparse.Namespace(arch=arch, stop_grad_conv1=True, lr=1.5e-4),
        "state_dict": state,
        "optimizer": {"state": {0: {"step": 5, "exp_avg": torch.zeros(3)}}, "param_groups": []},
        "scaler": {"scale": 65536.0, "_growth_tracker": 3},
    }
    torch.save(content, path)
    return base


def _linear_and_norm(index: int, inputs: int, outputs: int, affine: bool = True) -> dict:
    norm = f"{index + 1}."
    shapes = {f"{index}.weight": (outputs, inputs)}  # no bias
    if affine:
        shapes |= {f"{norm}weight": (outputs,), f"{norm}bias": (outputs,)}
    shapes |= {f"{norm}running_mean": (outputs,), f"{norm}running_var": (outputs,)}
    return shapes | {f"{norm}num_batches_tracked": ()}


def write_timm_file(path: Path, vit_kwargs: dict, num_classes: int = 11) -> State:
    """Write a file as timm's on the Hugging Face hub: bare, with a head, safetensors."""
    state = timm_state(vit_kwargs)
    head = {"head.weight": (num_classes, vit_kwargs["embed_dim"]), "head.bias": (num_classes,)}
    save_file({**state, **random_state(head)}, path)
    return state


def write_hugging_face_file(path: Path, vit_kwargs: dict, prefix: str = "vit.") -> State:
    """Write a file as of transformers' ViTMAEForPreTraining: with a decoder, safetensors."""
    state = timm_state(vit_kwargs)
    width = vit_kwargs["embed_dim"]
    names = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "blocks": "encoder.layer",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    renamed = {}
    for name, value in state.items():
        if name.startswith("norm."):
            renamed[f"layernorm.{name.removeprefix('norm.')}"] = value
            continue
        for old, new in names.items():
            name = name.replace(old, new)
        if "attn.qkv" not in name:
            renamed[name] = value
            continue
        for part, rows in zip(("query", "key", "value"), value.split(width), strict=True):
            renamed[name.replace("attn.qkv", f"attention.attention.{part}")] = rows.clone()
    decoder = random_state({"decoder.mask_token": (1, 1, 6), "decoder.decoder_norm.bias": (6,)})
    save_file({**_prefixed(prefix, renamed), **(decoder if prefix else {})}, path)
    return state


def write_maws_file(path: Path, vit_kwargs: dict, clip: bool = False) -> State:
    """Write a file of facebookresearch/maws: a bare state_dict, or that of its CLIP model."""
    state = timm_state(vit_kwargs)
    width = vit_kwargs["embed_dim"]
    text = {
        "text_encoder.encoder.transformer.token_embedding.weight": (31, 10),
        "vision_projection": (width, 9),
        "text_projection": (10, 9),
        "logit_scale": (),
    }
    torch.save(
        {**random_state(text), **_prefixed("vision_encoder.", state)} if clip else state, path
    )
    return state


def write_vitdet_file(path: Path, vit_kwargs: dict, seed: int = 0) -> State:
    """Write a model_final_*.pkl as in the model zoo: arrays under "model", with a detector."""
    state = timm_state(vit_kwargs, seed)
    for name in ("cls_token", "norm.weight", "norm.bias"):
        del state[name]  # ViTDet has neither
    head_dim = vit_kwargs["embed_dim"] // vit_kwargs["num_heads"]
    relative = {
        f"blocks.{index}.attn.rel_pos_{axis}": (2 * 14 - 1, head_dim)
        for index in range(vit_kwargs["num_blocks"])
        for axis in "hw"
    }
    detector = {
        "backbone.simfp_2.0.weight": (8, 4, 2, 2),
        "proposal_generator.rpn_head.conv.conv0.weight": (5, 5, 3, 3),
        "roi_heads.box_predictor.0.cls_score.weight": (81, 6),
        "roi_heads.mask_head.predictor.bias": (80,),
    }
    model = {
        **_prefixed("backbone.net.", {**state, **random_state(relative)}),
        **random_state(detector),
    }
    if path.suffix == ".pkl":
        arrays = {name: value.numpy() for name, value in model.items()}
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "third_party"}))
    else:
        torch.save({"model": model, "iteration": 7}, path)
    return state


def write_google_file(path: Path, vit_kwargs: dict, num_classes: int = 11) -> State:
    """Write a file of google-research/vision_transformer: kernels are (inputs, outputs)."""
    state = timm_state(vit_kwargs)
    num_heads, width = vit_kwargs["num_heads"], vit_kwargs["embed_dim"]
    arrays = {
        "cls": state["cls_token"],
        "embedding/kernel": state["patch_embed.proj.weight"].permute(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "pre_logits/kernel": torch.zeros(width, 13),
        "pre_logits/bias": torch.zeros(13),
        "head/kernel": torch.zeros(13, num_classes),
        "head/bias": torch.zeros(num_classes),
    }
    for index in range(vit_kwargs["num_blocks"]):
        prefix = f"blocks.{index}."
        block = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        arrays |= _prefixed(
            f"Transformer/encoderblock_{index}/", _google_block(block, num_heads, width)
        )
    np.savez(path, **{name: value.contiguous().numpy() for name, value in arrays.items()})
    return state


def _google_block(block: State, num_heads: int, width: int) -> State:
    attention, head_dim = "MultiHeadDotProductAttention_1/", width // num_heads
    arrays = {
        "LayerNorm_0/scale": block["norm1.weight"],
        "LayerNorm_0/bias": block["norm1.bias"],
        "LayerNorm_2/scale": block["norm2.weight"],
        "LayerNorm_2/bias": block["norm2.bias"],
        "MlpBlock_3/Dense_0/kernel": block["mlp.fc1.weight"].T,
        "MlpBlock_3/Dense_0/bias": block["mlp.fc1.bias"],
        "MlpBlock_3/Dense_1/kernel": block["mlp.fc2.weight"].T,
        "MlpBlock_3/Dense_1/bias": block["mlp.fc2.bias"],
        f"{attention}out/kernel": block["attn.proj.weight"].T.reshape(num_heads, head_dim, width),
        f"{attention}out/bias": block["attn.proj.bias"],
    }
    for part, name in enumerate(("query", "key", "value")):
        rows = slice(part * width, (part + 1) * width)
        kernel = block["attn.qkv.weight"][rows].T.reshape(width, num_heads, head_dim)
        arrays[f"{attention}{name}/kernel"] = kernel
        arrays[f"{attention}{name}/bias"] = block["attn.qkv.bias"][rows].reshape(
            num_heads, head_dim
        )
    return arrays


def _prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}
