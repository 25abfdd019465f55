"""Saved activations of what may be added to a prompted ViT: tuning methods, layers, neck blocks.

Shape legend: B batch, T tokens, N patches, D embed_dim.
"""

from typing import Any

from bpt_det.detection.neck import Neck
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from bpt_det.vit.tuning import SSF, AdaptFormer, BitFit, LoRA, PromptGate, TrainedBlocks
from bpt_det.vit.tuning.linears import attention_linears, mlp_linears

from .saved_activations import FLOAT32_BYTES, SavedActivations


def tuning_bytes(
    network: PromptedViT, index: int, num_rows: int, batch_size: int, compute_bytes: int
) -> int:
    """Return the bytes that a tuned block saves more than a frozen one.

    Args:
        network: the ViT and its tuning; weights may be on the meta device.
        index: of the block.
        num_rows: B * T.
        batch_size: B.
        compute_bytes: of a number in matrix products; 4: no autocast.

    Raises:
        InputError: a tuning method of this type is not modeled.
    """
    tuning = network.tuning
    if tuning is None or str(index) not in tuning.blocks:
        return 0
    block = network.vit.blocks[index]
    if isinstance(tuning, LoRA):
        return num_rows * compute_bytes * _of_lora(tuning, block)
    if isinstance(tuning, AdaptFormer):
        # Input of the first layer, output of ReLU, input of the second layer and the mask.
        inner = tuning.bottleneck * (2 * compute_bytes + 1 if tuning.dropout else compute_bytes)
        is_cast = compute_bytes != FLOAT32_BYTES  # else the norm saves the same input
        return num_rows * (is_cast * compute_bytes * network.embed_dim + inner)
    if isinstance(tuning, SSF):
        layers = {layer.name: layer for layer, _ in attention_linears(block).values()}
        layers |= {layer.name: layer for layer in mlp_linears(block)}
        return num_rows * compute_bytes * sum(x.module.out_features for x in layers.values())
    if isinstance(tuning, PromptGate):
        return 2 * FLOAT32_BYTES * batch_size * network.prompt_length * network.embed_dim
    if isinstance(tuning, BitFit | TrainedBlocks):
        return 0  # a bias needs no activation; trained blocks are followed as what they are
    raise InputError(f"saved activations of tuning={tuning.name} are not modeled.")


def _of_lora(tuning: LoRA, block: Any) -> int:
    """Return how many numbers a token saves: each changed layer's input, and the inner products."""
    inputs, inner = {}, 0
    for _, layer, _ in tuning._targets(block):
        inputs[layer.name] = layer.module.in_features
        inner += tuning.rank
    return sum(inputs.values()) + inner


def neck_bytes(neck: Neck, patches: SavedActivations, is_checkpointed: bool) -> int:
    """Return the bytes that joined layers and neck blocks save, without their output.

    Args:
        neck: of a backbone.
        patches: (B, N, D), not saved yet.
        is_checkpointed: whether blocks save their input only.
    """
    rows, numbers, saved = patches.rows * patches.area, patches.size // FLOAT32_BYTES, 0
    if neck.join is not None:
        of_layer = {"concat": patches.compute_bytes, "weights": FLOAT32_BYTES}.get(neck.join.how, 0)
        of_norm = 2 * FLOAT32_BYTES * rows  # mean and deviation
        saved += len(neck.join.norms) * (of_norm + numbers * of_layer)
    for block in neck.blocks or ():
        if is_checkpointed:
            saved += patches.size
            continue
        tokens = SavedActivations(patches.rows, patches.area, patches.width, patches.compute_bytes)
        saved += tokens.follow_block(block).total
        window = neck.blocks.window_size if neck.blocks is not None else 0
        if window:  # no fused attention: scores and their softmax, scaled queries and keys
            scores = block.attn.num_heads * window**2
            saved += rows * (2 * scores + 2 * patches.width) * FLOAT32_BYTES
    return saved


def map_bytes(neck: Neck, patches: SavedActivations) -> int:
    """Return the bytes of the maps that a neck hands to the pyramid; 0: it hands on the tokens."""
    if neck.blocks is not None:
        return patches.size
    if neck.join is None:
        return 0
    num_maps = len(neck.join.norms) if neck.join.how == "levels" else 1
    is_product = neck.join.how == "concat"
    item_bytes = patches.compute_bytes if is_product else FLOAT32_BYTES
    return num_maps * (patches.size // FLOAT32_BYTES) * item_bytes
