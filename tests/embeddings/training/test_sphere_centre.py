"""The centre of natural images and its running threshold, against what can be worked out by hand."""

import numpy as np
import pytest
import torch

from fewshot.embeddings.training.sphere_centre import SphereCentre


def centre(*, momentum: float = 0.99) -> SphereCentre:
    found = SphereCentre(2, momentum=momentum)
    with torch.no_grad():
        found.center_real.copy_(torch.tensor([3.0, 0.0]))  # of any length
    return found


def at_angles(degrees: list[float], *, length: float = 2.0) -> torch.Tensor:
    radians = torch.deg2rad(torch.tensor(degrees))
    return length * torch.stack([radians.cos(), radians.sin()], dim=1)


def test_the_loss_is_the_mean_of_one_minus_the_cosine() -> None:
    assert float(centre()(at_angles([0, 60, 180])).detach()) == pytest.approx((0 + 0.5 + 2) / 3, abs=1e-6)


def test_the_threshold_moves_towards_the_widest_angle_within_the_fence() -> None:
    found = centre(momentum=0.75)

    found.update_threshold(at_angles([10, 20, 30, 40, 170]))  # the upper fence is 40 + 1.5 (40 - 20) = 70 degrees

    assert float(found.cosine_threshold) == pytest.approx(0.75 + 0.25 * np.cos(np.deg2rad(40)), abs=1e-6)


def test_the_threshold_stays_a_cosine() -> None:
    found = centre(momentum=1.0)
    found.cosine_threshold.fill_(1.3)

    found.update_threshold(at_angles([10, 20]))

    assert 0.999999 < float(found.cosine_threshold) < 1.0


def test_the_threshold_is_no_parameter_but_is_saved() -> None:
    found = centre()

    assert [name for name, _ in found.named_parameters()] == ["center_real"]
    assert set(found.state_dict()) == {"center_real", "cosine_threshold"}
    found.update_threshold(at_angles([10.0]).requires_grad_())
    assert not found.cosine_threshold.requires_grad
