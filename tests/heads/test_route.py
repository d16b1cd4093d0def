"""The head route: Fleet's adaptation on cached features, beside replayed images and from a start."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.utils.estimator_checks import check_estimator

from fewshot.core.errors import EpisodeError, OptionError, WeightsError
from fewshot.embeddings.networks.routing import RoutedEmbedding, RoutingSizes
from fewshot.heads import state as saved
from fewshot.heads.base import Head
from fewshot.heads.route import Route

SMALL: dict[str, Any] = {
    "width": 16, "segments": 4, "hidden": 12, "embedding": 8, "epochs": 4, "epochs_without_contrast": 1,
    "learning_rate": 3e-3, "pretraining_steps": 30, "pretraining_learning_rate": 1e-2,
}  # fmt: skip


def images(seed: int, count: int, *, columns: int = 12, at: int = 0) -> tuple[Any, Any]:
    """Rows whose synthetic half is shifted in one column."""
    generator = np.random.default_rng(seed)
    synthetic = np.arange(count) % 2 == 1
    features = generator.normal(size=(count, columns)).astype(np.float32)
    features[:, at] += np.where(synthetic, 2.0, -2.0)
    return features, synthetic


def replayed(**parameters: Any) -> Route:
    return Route(**{**SMALL, **parameters}).with_replay(*images(1, 80))


def start_file(path: Path, **extra: torch.Tensor) -> Path:
    torch.manual_seed(0)
    module = RoutedEmbedding(RoutingSizes(feature=7, signal=5, width=16, heads=4, hidden=12, embedding=8))
    branches = {"xception.conv1.weight": torch.zeros(2), "dinov3.norm.weight": torch.zeros(2)}
    save_file({**module.state_dict(), **branches, **extra}, path)
    return path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimator .* does not inherit from `sklearn.base.BaseEstimator`")  # decision 0008
def test_head_passes_the_estimator_checks_of_scikit_learn() -> None:
    check_estimator(Route(**{**SMALL, "epochs": 1, "pretraining_steps": 12}), on_skip=None)


def test_it_learns_a_new_domain_and_remembers_the_old_one() -> None:
    support, synthetic = images(2, 20, at=3)
    new, new_labels = images(3, 200, at=3)
    old, old_labels = images(4, 200)
    before, after = (replayed(epochs=epochs).fit(support, synthetic.astype(int)) for epochs in (0, 30))

    assert after.score(new, new_labels) > before.score(new, new_labels) + 0.2
    assert after.score(old, old_labels) > 0.9


def test_the_support_moves_neither_prototype() -> None:
    support, synthetic = images(2, 20, at=3)
    before, after = (replayed(epochs=epochs).fit(support, synthetic.astype(int)).arrays_ for epochs in (0, 4))

    assert all(np.array_equal(before[name], after[name]) for name in ("fake_prototype", "real_prototype", "offset"))
    assert not np.array_equal(before["projection.4.weight"], after["projection.4.weight"])


def test_every_draw_starts_from_the_same_weights() -> None:
    features, synthetic = images(5, 40)
    supports = np.stack([np.arange(10), np.arange(10, 20)])

    together = replayed().score_draws(features, synthetic, supports)
    alone = replayed().fit(features[supports[1]], synthetic[supports[1]].astype(int)).decision_function(features)

    assert np.array_equal(together[1], alone)


def test_a_start_gives_the_split_of_the_columns_and_the_score_before_the_adaptation(tmp_path: Path) -> None:
    fake, real = torch.randn(8), torch.randn(8)
    start = start_file(tmp_path / "start.safetensors", fake_prototype=fake, real_prototype=real)
    features, synthetic = images(2, 20)
    module = RoutedEmbedding(RoutingSizes(feature=7, signal=5, width=16, heads=4, hidden=12, embedding=8)).double()
    torch.manual_seed(0)
    module.load_state_dict(RoutedEmbedding(RoutingSizes(7, 5, 16, 4, 12, 8)).state_dict())
    rows = torch.from_numpy(features).double()
    with torch.no_grad():
        embedding, _ = module.eval()(rows[:, :7], rows[:, 7:])
    both = torch.nn.functional.normalize(torch.stack([fake, real]).double(), dim=1)

    head = Route(start=str(start), epochs=0).with_replay(*images(1, 30)).fit(features, synthetic.astype(int))

    cosines = (embedding @ both.T).numpy()
    np.testing.assert_allclose(head.decision_function(features), cosines[:, 0] - cosines[:, 1], atol=1e-6)


def test_a_saved_head_is_a_start(tmp_path: Path) -> None:
    support, synthetic = images(2, 20)
    first = replayed().fit(support, synthetic.astype(int))
    saved.write(first.state(), tmp_path / "first.safetensors")

    again = replayed(start=str(tmp_path / "first.safetensors"), epochs=0).fit(support, synthetic.astype(int))

    assert np.array_equal(again.decision_function(support), first.decision_function(support))


def test_a_start_of_other_columns_or_of_another_network_is_refused(tmp_path: Path) -> None:
    support, synthetic = images(2, 20, columns=9)
    start = start_file(tmp_path / "start.safetensors")
    with pytest.raises(WeightsError, match=r"reads 7 \+ 5 columns, and the features have 9; .* --layer branches"):
        Route(start=str(start)).fit(support, synthetic.astype(int))
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"lacks xception_fc\.weight and 19 more"):
        Route(start=str(tmp_path / "other.safetensors")).fit(support, synthetic.astype(int))


def test_a_replay_of_one_class_or_of_other_columns_is_refused() -> None:
    features, synthetic = images(2, 20)
    one_class = Route(**SMALL).with_replay(features, np.ones(20, bool))
    with pytest.raises(EpisodeError, match="20 replay images are all synthetic"):
        one_class.fit(features, synthetic.astype(int))
    with pytest.raises(OptionError, match="the replay has 9 columns, and the support 12"):
        Route(**SMALL).with_replay(*images(1, 30, columns=9)).fit(features, synthetic.astype(int))


def test_what_cannot_be_used_is_named() -> None:
    features, synthetic = images(2, 20)
    for wrong, message in (
        ({"segments": 3}, "a width of 16 cannot be cut into 3 segments"),
        ({"signal_columns": 12}, "signal_columns is 12, of 12 columns"),
        ({"hidden": 0}, "hidden is 0; give 1 or more"),
    ):
        with pytest.raises(OptionError, match=message):
            Route(**{**SMALL, **wrong}).fit(features, synthetic.astype(int))


def test_two_branches_are_kept_apart_and_read_back() -> None:
    features, synthetic = images(2, 20)
    head = replayed(signal_columns=5).fit(features, synthetic.astype(int))

    again = Head.from_state(saved.from_bytes(saved.to_bytes(head.state())))

    assert head.arrays_["xception_fc.weight"].shape == (16, 5)
    assert head.arrays_["routing.k_proj.weight"].shape == (16, 7)
    assert np.array_equal(again.decision_function(features), head.decision_function(features))
