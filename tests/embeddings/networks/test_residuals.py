"""Residuals against plain definitions."""

import torch

from fewshot.embeddings.networks.residuals import median_residual, nearest_residual


def test_nearest_residual_equals_torch_down_and_up_sampling() -> None:
    images = torch.randn(2, 3, 12, 8, generator=torch.Generator().manual_seed(0))
    down = torch.nn.functional.interpolate(images, scale_factor=0.5, mode="nearest")

    expected = images - torch.nn.functional.interpolate(down, scale_factor=2.0, mode="nearest")

    assert torch.equal(nearest_residual(images), expected)


def test_nearest_residual_of_a_nearest_upsampled_image_is_zero() -> None:
    small = torch.randn(1, 3, 5, 4, generator=torch.Generator().manual_seed(0))

    upsampled = torch.nn.functional.interpolate(small, scale_factor=2.0, mode="nearest")

    assert not nearest_residual(upsampled).any()


def test_nearest_residual_cuts_an_odd_last_row_and_column() -> None:
    assert nearest_residual(torch.ones(1, 3, 7, 5)).shape == (1, 3, 6, 4)


def test_median_residual_equals_a_sort_of_nine_values_with_the_centre_zero() -> None:
    images = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    columns = torch.nn.functional.unfold(images, 3, padding=1).reshape(2, 3, 9, 9, 11)
    columns[:, :, 4] = 0

    expected = images - columns.sort(dim=2).values[:, :, 4]

    assert torch.equal(median_residual(images), expected)
