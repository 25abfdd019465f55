import pytest
import torch

from bpt_det.prompts import insert_prompts


@pytest.mark.parametrize("num_prefix_tokens", [0, 1, 2])
@pytest.mark.parametrize("num_replaced", [0, 3])
def test_prompts_take_the_place_of_old_ones_between_prefix_and_patches(
    num_prefix_tokens, num_replaced
):
    num_patches, prompt_length = 5, 4
    tokens = torch.randn(2, num_prefix_tokens + num_replaced + num_patches, 6)
    prompts = torch.randn(2, prompt_length, 6)
    inserted = insert_prompts(tokens, prompts, num_prefix_tokens, num_replaced)
    assert inserted.shape == (2, num_prefix_tokens + prompt_length + num_patches, 6)
    for image in range(2):
        for n in range(num_prefix_tokens):
            assert torch.equal(inserted[image, n], tokens[image, n])
        for n in range(prompt_length):
            assert torch.equal(inserted[image, num_prefix_tokens + n], prompts[image, n])
        for n in range(1, num_patches + 1):
            assert torch.equal(inserted[image, -n], tokens[image, -n])


def test_inserting_leaves_its_arguments_alone():
    tokens, prompts = torch.randn(2, 6, 3), torch.randn(2, 4, 3)
    copies = tokens.clone(), prompts.clone()
    insert_prompts(tokens, prompts, num_prefix_tokens=1, num_replaced=2).zero_()
    assert torch.equal(tokens, copies[0]) and torch.equal(prompts, copies[1])


def test_prompts_take_the_type_of_the_tokens():
    """Under autocast the tokens are of half precision, the parameters are not."""
    tokens = torch.randn(2, 6, 3, dtype=torch.bfloat16)
    assert insert_prompts(tokens, torch.randn(2, 4, 3), 1).dtype == torch.bfloat16
