import copy

import torch
from torch import nn

from bpt_det.vit import fingerprint
from tests.support.vits import tiny_vit


def test_the_fingerprint_changes_with_a_single_weight():
    vit = tiny_vit(torch.float32)
    before = fingerprint(vit)
    assert fingerprint(copy.deepcopy(vit)) == before
    vit.blocks[3].mlp.fc2.bias.data[5] += 1e-3
    assert fingerprint(vit) != before


def test_the_fingerprint_depends_on_values_and_not_on_their_type():
    vit = tiny_vit(torch.float32)
    before = fingerprint(vit)
    assert fingerprint(vit.double()) == before
    assert fingerprint(vit.float()) == before
    rounded = vit.bfloat16()
    assert fingerprint(rounded) != before  # these are other values
    assert fingerprint(copy.deepcopy(rounded).float()) == fingerprint(rounded)


def test_the_fingerprint_tells_depths_and_shapes_apart():
    prints = {
        fingerprint(tiny_vit(torch.float32, **sizes))
        for sizes in ({}, {"num_blocks": 4}, {"embed_dim": 24}, {"pretrain_size": 28})
    }
    assert len(prints) == 4


def test_the_fingerprint_tells_names_and_shapes_of_equal_values_apart():
    values = torch.arange(12.0)
    parameters = [("a", values.view(3, 4)), ("a", values.view(4, 3)), ("b", values.view(3, 4))]
    prints = {fingerprint(nn.ParameterDict({name: value})) for name, value in parameters}
    assert len(prints) == 3


def test_the_fingerprint_tells_numbers_of_heads_apart_though_no_weight_differs():
    vit, other = (tiny_vit(torch.float32, num_heads=heads) for heads in (2, 3))
    assert all(torch.equal(v, other.state_dict()[n]) for n, v in vit.state_dict().items())
    assert fingerprint(vit) != fingerprint(other)


def test_the_fingerprint_tells_activations_apart():
    vit, other = tiny_vit(torch.float32), tiny_vit(torch.float32)
    other.blocks[2].mlp.act = nn.SiLU()
    assert fingerprint(vit) != fingerprint(other)
