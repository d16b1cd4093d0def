"""An option is applied as given, or refused, or the report records what was applied and a warning says so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import fewshot
from fewshot.cli import group
from fewshot.core.errors import FewshotError, OptionError
from fewshot.core.provenance import provenance
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.acm import Acm
from fewshot.heads.gmm import Gmm
from fewshot.heads.knn import Knn
from fewshot.heads.mahalanobis import Mahalanobis
from fewshot.heads.nystrom_svm import NystromSvm
from fewshot.heads.svm import Svm
from fewshot.heads.vib import Vib
from fewshot.protocols.attribution import Attribution
from fewshot.protocols.nearest import Nearest
from fewshot.protocols.robustness import Robustness
from fewshot.results.report import Report
from tests.contracts.protocol_store import protocol_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return protocol_store(tmp_path_factory.mktemp("options") / "store.h5")


def adapt(store: FeatureStore, **options: Any) -> Report:
    return fewshot.adapt(store, **{"trials": 2, "shots": 2, "backbone": "net", **options})


def applied(report: Report, option: str) -> Any:
    (found,) = [one for one in report.config["applied"] if one["option"].startswith(option)]
    warnings = [text for text in report.warnings if text.startswith(found["option"])]
    assert len(warnings) == 1
    return found["given"], found["applied"]


def test_fewer_neighbours_than_wanted_are_recorded(store: FeatureStore) -> None:
    assert applied(adapt(store, head="knn", shots=1), "k of the head knn, 1 shots") == (5, 2)
    assert adapt(store, head="knn", shots=3).config["applied"] == []


def test_recorded_neighbours_give_the_same_numbers(store: FeatureStore) -> None:
    wide, narrow = (adapt(store, head="knn", shots=1, k=k) for k in (5, 2))
    assert wide.compare(narrow).equal


def test_fewer_landmarks_than_wanted_are_recorded(store: FeatureStore) -> None:
    assert applied(adapt(store, head="nystrom-svm"), "components of the head nystrom-svm") == (1000, 4)


@pytest.mark.parametrize(("option", "value", "name"), [("k", 3, "-k"), ("rule", "exponential", "--rule")])
def test_an_option_of_a_head_that_is_not_fitted_is_recorded(
    store: FeatureStore, option: str, value: Any, name: str
) -> None:
    assert applied(adapt(store, head="svm", **{option: value}), name) == (value, None)


def test_fewer_folds_than_usual_are_recorded(store: FeatureStore) -> None:
    found = adapt(store, layer="support-cv", shots=2)
    assert applied(found, "folds of --layer support-cv, 2 shots") == (5, 2)


def test_a_list_without_two_images_of_a_class_has_no_folds(store: FeatureStore) -> None:
    keys, synthetic = store.column("key"), store.synthetic
    listed = (*keys[~synthetic][:3], keys[synthetic][0])
    with pytest.raises(FewshotError, match="--layer support-cv needs at least 2 images of every class"):
        fewshot.adapt(store, backbone="net", layer="support-cv", support=(tuple(map(str, listed)),))


def test_a_false_positive_rate_that_few_natural_images_do_not_allow_is_recorded(store: FeatureStore) -> None:
    natural, synthetic = (store.column("key")[store.synthetic == side] for side in (False, True))
    report = adapt(store, shots=len(natural) - 5, draw="fiser")
    assert applied(report, "FPR of tpr_at_5_fpr") == (0.05, 0.0)
    assert any("no TPR at 5 % FPR (n/a): 5 natural" in note for note in adapt(store, shots=len(natural) - 5).warnings)
    assert len(synthetic) > 5


def test_neighbours_beyond_the_index_are_recorded(store: FeatureStore) -> None:
    report = Nearest(backbone="net", k=10_000, shots=(1,), trials=2).run(store).report
    given, used = applied(report, "-k")
    assert given == 10_000
    assert used < len(store)


def test_a_validation_set_that_cannot_be_held_out_is_recorded(store: FeatureStore) -> None:
    recipe = {"steps": 2, "widths": (4,), "latent": 2}
    found = Attribution(
        backbone="net", fractions=(0.1,), trials=1, recipe=recipe, references=(), families={"dcgan": "gans"}
    )
    report = found.run(store).report
    assert applied(report, "--validation of acm:natural at 10 %") == ("held-out", "none")
    assert applied(report, "--family") == ("dcgan", None)


@pytest.mark.parametrize("seed", [-1, -(2**40)])
def test_negative_seeds_are_refused(store: FeatureStore, seed: int) -> None:
    runs = (
        lambda: adapt(store, seed=seed),
        lambda: Nearest(backbone="net", seed=seed).run(store),
        lambda: Robustness(seed=seed).run(store),
        lambda: Attribution(seed=seed),
    )
    for run in runs:
        with pytest.raises(OptionError, match=f"--seed must be 0 or more, and is {seed}"):
            run()


@pytest.mark.parametrize("options", [{"k": 0}, {"trials": 0}, {"shots": (0,)}, {"shots": (5, -1)}, {"shots": ()}])
def test_counts_below_one_are_refused(store: FeatureStore, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="at least"):
        Nearest(backbone="net", **options).run(store)


@pytest.mark.parametrize(
    "options",
    [{"fractions": (0.0,)}, {"fractions": (1.5,)}, {"fractions": ()}, {"train_share": 0.0}, {"validation_share": 1.0},
     {"trials": 0}, {"side_by_side": 0}, {"fractions": (float("nan"),)}],
    ids=str,
)  # fmt: skip
def test_shares_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Attribution(**options)


FEATURES, LABELS = np.random.default_rng(0).normal(size=(8, 3)), np.arange(8) % 2


@pytest.mark.parametrize(
    "head",
    [
        Gmm(components=9), Gmm(components=0), Gmm().set_params(fit_on="Synthetic"),
        Gmm().set_params(covariance="round"), Gmm(quantile=1.5),
        Gmm(floor=-1.0), Mahalanobis(shrinkage=1.5), Mahalanobis(shrinkage="most"), NystromSvm(components=0),
        Acm(validation=-0.5), Acm(validation=1.0), Vib(steps=0), Vib(hidden=0), Knn(k=0),
    ],
    ids=repr,
)  # fmt: skip
def test_parameters_of_heads_that_cannot_be_applied_are_refused(head: Any) -> None:
    with pytest.raises(OptionError):
        head.fit(FEATURES, LABELS)


def test_an_unknown_width_is_refused_by_all_draws_at_once_too() -> None:
    with pytest.raises(OptionError, match="there is no gamma 'sclae'"):
        Svm(gamma="sclae").score_draws(FEATURES, LABELS == 1, np.arange(4)[None])


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(group, [str(part) for part in arguments])


UNUSED = (
    ("nearest", "STORE", "--query", "STORE", "--shots", "5"),
    ("nearest", "STORE", "--query", "STORE", "--trials", "5"),
    ("nearest", "STORE", "--query", "STORE", "--recall", "0.9"),
    ("nearest", "STORE", "--query", "STORE", "--weights", "net=w.pth"),
    ("nearest", "STORE", "image.png", "--per-source", "3"),
    ("nearest", "STORE", "image.png", "--query-where", "split=test"),
    ("nearest", "STORE", "image.png", "--confusion", "c.png"),
    ("nearest", "STORE", "-o", "r.json", "--index", "hnsw"),
    ("nearest", "STORE", "-o", "r.json", "--gallery", "g.html"),
    ("audit", "STORE", "--layer", "pooled"),
    ("audit", "STORE", "--score", "0.9"),
    ("attribute", "STORE", "--format", "png"),
)


@pytest.mark.parametrize("arguments", UNUSED, ids=" ".join)
def test_options_that_a_call_does_not_use_are_refused(store: FeatureStore, arguments: tuple[str, ...]) -> None:
    found = run(*(str(store.path) if part == "STORE" else part for part in arguments))
    assert found.exit_code == 2
    assert "cannot be used here" in found.output


@pytest.mark.parametrize(
    "arguments",
    [("adapt", "s.h5", "--seed", "-1"), ("replay", "r.json", "--tolerance", "-1"), ("audit", "s.h5", "--score", "2"),
     ("nearest", "s.h5", "--recall", "0"), ("nearest", "s.h5", "--recall", "1.5")],
    ids=" ".join,
)  # fmt: skip
def test_values_out_of_range_are_refused_before_anything_is_read(arguments: tuple[str, ...]) -> None:
    found = run(*arguments)
    assert found.exit_code == 2
    assert "is not in the range" in found.output


def test_one_store_given_twice_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    found = run("adapt", store.path, store.path, "-o", tmp_path / "r.json")
    assert found.exit_code == 1
    assert "is given twice" in found.output


def test_provenance_says_how_many_threads_compute() -> None:
    assert set(provenance()["threads"]) >= {"torch", "usable_cpus"}
