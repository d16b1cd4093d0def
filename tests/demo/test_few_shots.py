"""The sentence of the demo says what was measured, whatever it is, and both halves are of the same photographs."""

from pathlib import Path

import numpy as np
import pytest

import fewshot
from fewshot.demo.few_shots import HEAD, KNOWN, NEW, OTHER_HEAD, SHOTS, FewShots, few_shots
from fewshot.demo.generators import GENERATORS
from fewshot.demo.images import write_images
from fewshot.demo.paragraphs import about_few_shots, about_story, headline
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.results.report import Report
from fewshot.results.row import Row


def row(source: str, share: float, *, metric: str, shots: int = 10, head: str = HEAD, naturals: int = 40) -> Row:
    values = (share - 0.1, share + 0.1) * 10
    return Row("spectrum", "feature", "fixed", head, "toy", source, metric, 20, 80, values, shots, n_natural=naturals)


def found(known: float, missed: float, caught: float, *, naturals: int = 40) -> FewShots:
    """A measurement made up: what the head catches of its own generator and of the new one, and what few shots do."""
    both = [(metric, naturals) for metric in ("auroc", "tpr_at_5_fpr")]
    of = {name: {KNOWN: known, NEW: missed}.get(name, 0.5) for name in GENERATORS}
    before = [row(name, of[name], metric=metric, naturals=n) for metric, n in both for name in GENERATORS]
    after = [
        row("all", caught, metric=metric, shots=shots, head=head, naturals=n)
        for metric, n in both
        for shots in SHOTS
        for head in (HEAD, OTHER_HEAD)
    ]
    supports = {str(trial): ["a.png"] * 60 for trial in range(20)}
    return FewShots(
        Report("fiser", {}, tuple(before), supports),
        {name: Report("fiser", {}, tuple(after)) for name in GENERATORS},
    )


def test_the_sentence_says_the_shares_that_were_measured() -> None:
    assert headline(found(0.87, 0.12, 0.8)) == (
        "A head fitted on 30 images of the generator 'autoencoder' catches 87 % of its other images, and 12 % of those "
        "of 'transposed-convolution', which it never saw; fitted on 10 images of 'transposed-convolution': 80 % (a "
        "single draw of 10: 70 % to 90 %)."
    )


def test_a_run_in_which_few_images_do_not_help_says_so_with_its_numbers() -> None:
    said = headline(found(0.55, 0.5, 0.3))
    assert "catches 55 % of its other images, and 50 % of those" in said
    assert "'transposed-convolution': 30 % (a single draw of 10: 20 % to 40 %)" in said


def test_with_few_natural_tiles_the_sentence_is_of_auroc() -> None:
    assert "has an AUROC of 0.87 on its other images, and 0.12 on those of" in headline(
        found(0.87, 0.12, 0.8, naturals=19)
    )


@pytest.mark.parametrize("naturals", [19, 40])
def test_the_paragraphs_fit_a_hundred_columns(naturals: int) -> None:
    measured = found(0.87, 0.12, 0.8, naturals=naturals)
    text = f"{about_story(measured)}\n{about_few_shots(measured)}"
    assert max(map(len, text.splitlines())) <= 100


def test_both_halves_are_measured_on_the_same_photographs_and_no_head_saw_them(tmp_path: Path) -> None:
    write_images(tmp_path / "images", most=2)
    store = fewshot.embed(tmp_path / "images", backbones="spectrum", out=tmp_path / "images.h5", workers=0)
    measured = few_shots(store, tmp_path, trials=3, seed=1)
    for trial in map(str, range(3)):
        seen = _photographs(store, measured.before.supports[trial])
        assert seen == _photographs(store, measured.after[NEW].supports[trial])
        listed = measured.before.supports[trial]
        assert len(listed) == 2 * np.isin(store.column("group")[~store.synthetic], sorted(seen)).sum()
    assert measured.missed(NEW).n_query == measured.caught(NEW).n_query
    assert measured.known_tiles == round(np.mean([len(keys) / 2 for keys in measured.before.supports.values()]))


def _photographs(store: FeatureStore, keys: list[str]) -> set[str]:
    return set(store.column("group")[np.isin(store.column("key"), keys)])
