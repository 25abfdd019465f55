"""Attention in bfloat16 on the CPU: by matrix products, and equal to the fused kernel's."""

from contextlib import nullcontext
from unittest import mock

import pytest
import torch
import torch.nn.functional as F

from bpt_det.prompts import BilinearPrompt
from bpt_det.vit import PromptedViT, attention
from tests.support.families import FAMILIES, images_of_size, small_network
from tests.support.vits import tiny_vit


def heads(num_tokens=20):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, 3, num_tokens, 16, generator=generator, requires_grad=True) for _ in range(3)
    ]


def attend(tensors, dtype, **options):
    """Return attention, as a block computes it under autocast, and the gradients of its inputs."""
    query, key, value = tensors
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        with attention.attention_kernel(query[:, 0]):
            output = F.scaled_dot_product_attention(query, key, value, **options)
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    return output, torch.autograd.grad((output.float() * weights).sum(), tensors)


def test_it_is_that_of_the_fused_kernel_up_to_rounding():
    tensors = heads()
    with mock.patch.object(attention, "_attend", wraps=attention._attend) as attends:
        output, gradients = attend(tensors, torch.bfloat16, attn_mask=None, dropout_p=0.0)
        assert attends.call_count == 1 and output.dtype == torch.bfloat16
        expected, expected_gradients = attend(tensors, torch.float32)
        assert attends.call_count == 1
    torch.testing.assert_close(output.float(), expected, atol=0.02, rtol=0.02)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0.05)


@pytest.mark.parametrize(
    "options",
    [{"attn_mask": torch.ones(20, 20).tril().bool()}, {"is_causal": True}, {"dropout_p": 0.5}],
    ids=lambda options: next(iter(options)),
)
def test_what_has_a_mask_or_dropout_is_left_to_pytorch(options):
    with mock.patch.object(attention, "_attend", side_effect=AssertionError):
        output, _ = attend(heads(), torch.bfloat16, **options)
    assert output.dtype == torch.bfloat16


def test_many_tokens_are_left_to_pytorch():
    with mock.patch.object(attention, "_attend", side_effect=AssertionError):
        attend(heads(513), torch.bfloat16)
        with pytest.raises(AssertionError):
            attend(heads(512), torch.bfloat16)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # sapiens2's RMS norm
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_computes_it_so_and_as_exactly_as_fused(family):
    model = PromptedViT(small_network(family, torch.float32))
    images = images_of_size(24, 16).float()
    with mock.patch.object(attention, "_attend", wraps=attention._attend) as attends:
        exact = model(images)
        assert attends.call_count == 0
        with torch.autocast("cpu", torch.bfloat16):
            output = model(images)
            assert attends.call_count == len(model.network.blocks)
            with mock.patch.object(attention, "_MOST_TOKENS", 0):
                fused = model(images)
    errors = [(each.float() - exact).norm() / exact.norm() for each in (output, fused)]
    assert errors[0] < 1.5 * errors[1] < 0.2


def test_other_devices_are_left_alone():
    with torch.autocast("cpu", torch.bfloat16):
        assert isinstance(
            attention.attention_kernel(torch.empty(1, 4, 8, device="meta")), nullcontext
        )


def test_a_checkpointed_block_computes_it_again_the_same_way():
    images = torch.randn(2, 3, 20, 36, generator=torch.Generator().manual_seed(0))
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        vit = tiny_vit().float()
        prompt = BilinearPrompt(embed_dim=vit.embed_dim, prompt_length=4, rank=2)
        model = PromptedViT(vit, prompt, activation_checkpointing=checkpointing)
        with (
            mock.patch.object(attention, "_attend", wraps=attention._attend) as attends,
            torch.autocast("cpu", torch.bfloat16),
        ):
            model(images).float().square().mean().backward()
        num_blocks = len(model.network.blocks)
        assert attends.call_count == num_blocks * (1 + checkpointing)
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    assert len(gradients[0]) == 2
    torch.testing.assert_close(*gradients, atol=0, rtol=0)
