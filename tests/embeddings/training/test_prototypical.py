"""FSD's episodic loss against a worked example and against its definition in NumPy."""

import numpy as np
import pytest
import torch

from fewshot.embeddings.training.prototypical import class_scores, episode_labels, episode_scores, prototypical_loss


def test_scores_of_the_worked_example_are_squared_distances_to_the_means() -> None:
    support = torch.tensor([[[[0.0], [10.0]], [[2.0], [14.0]]]])  # means 1 and 12

    found = class_scores(support, torch.tensor([[[3.0], [12.0]]]))

    assert found.tolist() == [[[-4.0, -81.0], [-121.0, -0.0]]]


def test_rows_go_by_episode_then_query_then_class() -> None:
    embeddings = torch.zeros(2, 3, 2, 1)  # two episodes of one shot and two queries of two classes
    embeddings[:, 0, 1] = 1.0  # class means 0 and 1
    embeddings[1, 2, 0] = 5.0

    found = episode_scores(embeddings, shots=1)

    assert episode_labels(embeddings, shots=1).tolist() == [0, 1] * 4
    assert found.shape == (8, 2)
    assert [row for row, scores in enumerate(found.tolist()) if scores == [-25.0, -16.0]] == [6]


def test_the_loss_is_the_mean_cross_entropy_of_its_definition() -> None:
    embeddings = torch.randn(3, 7, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images = embeddings.numpy()
    losses = []
    for episode in images:
        means = episode[:5].mean(0)
        for query in episode[5:]:
            for true, image in enumerate(query):
                distances = ((image - means) ** 2).sum(1)
                losses.append(distances[true] + np.log(np.exp(-distances).sum()))

    assert float(prototypical_loss(embeddings, shots=5)) == pytest.approx(np.mean(losses), rel=1e-12)
