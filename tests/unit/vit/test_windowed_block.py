"""The block against plain loops; comparisons with official Detectron2 are in tests/parity."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bpt_det.vit.windowed_block import WindowedBlock

EMBED_DIM, NUM_HEADS, HEAD_DIM = 6, 2, 3
GRID_SIZE = 4  # relative positions of global attention are stored for 4 x 4 tokens


def block(**kwargs):
    """A block in float64, none of whose parameters is at its initial 0 or 1."""
    torch.manual_seed(0)
    module = WindowedBlock(EMBED_DIM, NUM_HEADS, GRID_SIZE, **kwargs).double()
    for parameter in module.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    return module.eval()


def interpolate_rows(table, num_rows):
    """Linear interpolation of the rows of a table, by the positions of their centers."""
    rows = []
    for index in range(num_rows):
        place = (index + 0.5) * len(table) / num_rows - 0.5
        place = min(max(place, 0.0), len(table) - 1.0)
        low = int(place)
        high = min(low + 1, len(table) - 1)
        rows.append((low + 1 - place) * table[low] + (place - low) * table[high])
    return torch.stack(rows)


def attention_by_loops(attn, window):
    """Attention of one window (H, W, D): query by query, head by head."""
    height, width, _ = window.shape
    qkv = F.linear(window, attn.qkv.weight, attn.qkv.bias).unflatten(2, (3, NUM_HEADS, HEAD_DIM))
    query, key, value = qkv.unbind(2)  # each (H, W, heads, head_dim)
    rows = interpolate_rows(attn.rel_pos_h, 2 * height - 1)
    columns = interpolate_rows(attn.rel_pos_w, 2 * width - 1)
    places = [(y, x) for y in range(height) for x in range(width)]
    result = torch.zeros_like(window)
    for y, x in places:
        for head in range(NUM_HEADS):
            q = query[y, x, head]
            logits = [
                q @ key[v, u, head] / HEAD_DIM**0.5
                + q @ rows[y - v + height - 1]
                + q @ columns[x - u + width - 1]
                for v, u in places
            ]
            weights = torch.stack(logits).softmax(0)
            mixed = sum(w * value[v, u, head] for w, (v, u) in zip(weights, places, strict=True))
            result[y, x, head * HEAD_DIM : (head + 1) * HEAD_DIM] = mixed
    return F.linear(result, attn.proj.weight, attn.proj.bias)


def windowed_attention_by_loops(module, normed):
    """Cut (H, W, D) into windows, with zeros where the last ones stick out."""
    height, width, _ = normed.shape
    side = module.window_size
    result = torch.zeros_like(normed)
    for top in range(0, height, side):
        for left in range(0, width, side):
            inside = normed[top : top + side, left : left + side]
            window = torch.zeros(side, side, EMBED_DIM, dtype=torch.float64)
            window[: inside.shape[0], : inside.shape[1]] = inside
            mixed = attention_by_loops(module.attn, window)
            result[top : top + side, left : left + side] = mixed[: inside.shape[0]][
                :, : inside.shape[1]
            ]
    return result


def expected_output(module, tokens):
    results = []
    for image in tokens:
        normed = F.layer_norm(image, (EMBED_DIM,), module.norm1.weight, module.norm1.bias, 1e-6)
        attend = windowed_attention_by_loops if module.window_size else attention_on_the_grid
        image = image + attend(module, normed)
        normed = F.layer_norm(image, (EMBED_DIM,), module.norm2.weight, module.norm2.bias, 1e-6)
        hidden = F.gelu(F.linear(normed, module.mlp.fc1.weight, module.mlp.fc1.bias))
        results.append(image + F.linear(hidden, module.mlp.fc2.weight, module.mlp.fc2.bias))
    return torch.stack(results)


def attention_on_the_grid(module, normed):
    return attention_by_loops(module.attn, normed)


@pytest.mark.parametrize("window_size", [0, 3])
@pytest.mark.parametrize("grid", [(4, 4), (3, 6), (5, 2)])
def test_equals_attention_written_as_loops(window_size, grid):
    """Windows of 3 need padding on most grids; global positions are interpolated on all but one."""
    module = block(window_size=window_size)
    tokens = torch.randn(2, *grid, EMBED_DIM, dtype=torch.float64)
    torch.testing.assert_close(module(tokens), expected_output(module, tokens))


def test_relative_positions_are_stored_for_the_window_or_for_the_grid():
    assert block(window_size=3).attn.rel_pos_h.shape == (2 * 3 - 1, HEAD_DIM)
    assert block().attn.rel_pos_w.shape == (2 * GRID_SIZE - 1, HEAD_DIM)


def test_stochastic_depth_drops_the_branch_of_whole_images():
    """timm's own block would drop it window by window."""
    module = block(window_size=2, drop_path_rate=0.5).train()
    nn.init.zeros_(module.mlp.fc2.weight)
    nn.init.zeros_(module.mlp.fc2.bias)
    tokens = torch.randn(32, 4, 4, EMBED_DIM, dtype=torch.float64)
    with torch.no_grad():
        branch = module(tokens) - tokens
        attended = module.eval()(tokens) - tokens
    is_kept = [bool(image.any()) for image in branch]
    assert 0 < sum(is_kept) < 32
    for image, kept in enumerate(is_kept):  # what is kept is scaled up by 1 / (1 - rate)
        torch.testing.assert_close(branch[image], 2 * attended[image] * kept)
