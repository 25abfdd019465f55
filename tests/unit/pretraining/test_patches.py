"""Patches and orders against plain loops."""

import torch

from bpt_det.pretraining.patches import (
    draw_order,
    mask_of,
    patch_statistics,
    take,
    to_images,
    to_patches,
)


def test_patches_are_cut_row_by_row_with_the_channels_of_a_pixel_together():
    images = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    patches = to_patches(images, 2)
    assert patches.shape == (2, 6, 12)
    for row in range(2):
        for column in range(3):
            cut = images[1, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            expected = [cut[c, y, x] for y in range(2) for x in range(2) for c in range(3)]
            assert patches[1, 3 * row + column].tolist() == [value.item() for value in expected]


def test_images_come_back_from_their_patches():
    images = torch.randn(2, 3, 8, 12)
    assert torch.equal(to_images(to_patches(images, 4), (2, 3)), images)


def test_statistics_are_those_of_each_patch_alone_with_the_published_floor():
    patches = torch.randn(2, 5, 12, dtype=torch.float64)
    patches[0, 3] = 7.0  # one color: only the floor is left
    mean, deviation = patch_statistics(patches)
    for i in range(2):
        for j in range(5):
            values = patches[i, j].tolist()
            m = sum(values) / 12
            variance = sum((value - m) ** 2 for value in values) / 11
            torch.testing.assert_close(mean[i, j, 0].item(), m)
            torch.testing.assert_close(deviation[i, j, 0].item(), (variance + 1e-6) ** 0.5)


def test_the_lowest_scores_are_kept_and_the_inverse_restores_the_order():
    scores = torch.tensor([[0.4, 0.1, 0.9, 0.3], [0.2, 0.8, 0.7, 0.5]])
    order, restore = draw_order(scores)
    assert order.tolist() == [[1, 3, 0, 2], [0, 3, 2, 1]]
    tokens = torch.randn(2, 4, 3)
    assert torch.equal(take(take(tokens, order), restore), tokens)
    assert torch.equal(take(tokens, order[:, :2])[0], tokens[0, [1, 3]])
    assert mask_of(restore, 2).tolist() == [[True, False, True, False], [False, True, True, False]]
