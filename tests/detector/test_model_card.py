"""The model card: what it must say, and that no text of others is more than text in it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fewshot.detector.detector import Detector
from fewshot.detector.fit import fit
from fewshot.detector.model_card import CARD, model_card
from fewshot.detector.refit import refit
from tests.detector.made_inputs import make_store


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    folder = tmp_path_factory.mktemp("card")
    return fit(
        make_store(folder / "support.h5", natural=10, synthetic=10, seed=1),
        naturals=make_store(folder / "naturals.h5", natural=60, seed=2, sources=("phone", "")),
        sources=make_store(folder / "known.h5", natural=3, synthetic=4, seed=3, sources=("album", "gan")),
        out=folder / "a.detector",
    )


@pytest.mark.parametrize(
    "says",
    [
        "# Model card: a\n",
        "## Intended use",
        "**A verdict is no proof.**",
        "**`unsure` is an answer.**",
        "**`natural` is no certificate of authenticity.**",
        "**Other traffic, other rates.**",
        "**Edits.**",
        "| support: the head is fitted on it | 10 | 10 | camera 10, model 10 |",
        "| calibration naturals: they set the threshold for false alarms | 60 | 0 | phone 60 |",
        "| further known images, shown as evidence | 3 | 4 | album 3, gan 4 |",
        "at this threshold at most 5 of 100 natural images like yours are flagged (95 % sure, from 60)",
        "no guarantee for misses",
        "It does not say:",
        "which is no measurement on new images",
        "| licence of code and weights | MIT |",
        f"| weights (SHA-256) | net {'a' * 64} |",
        "| successor of (SHA-256) | none; it is the first |",
        "- fewshot ",
    ],
)
def test_the_card_says(detector: Detector, says: str) -> None:
    assert says in model_card(detector)


def test_the_card_names_file_and_parent(detector: Detector) -> None:
    child = refit(detector, heads="lda").detector
    assert f"`{detector.digest}`" in model_card(detector)
    assert f"| successor of (SHA-256) | {detector.digest} |" in model_card(child)


def test_without_naturals_no_rate_is_guaranteed(tmp_path: Path) -> None:
    card = model_card(fit(make_store(tmp_path / "support.h5", natural=5, synthetic=5, seed=1)))
    assert "**No false-alarm rate is guaranteed.**" in card
    assert "order statistic" not in card


def test_an_interval_that_cannot_be_given_is_said_so(detector: Detector) -> None:
    described = detector.description
    held_out = msgspec.structs.replace(described.held_out, low=None, high=None)
    card = model_card(replace(detector, description=msgspec.structs.replace(described, held_out=held_out)))
    assert "no interval can be given" in card


def test_the_card_names_the_deciding_thresholds_where_the_certified_one_is_the_lower(
    detector: Detector,
) -> None:
    described = detector.description
    alarm = msgspec.structs.replace(described.alarm, value=-0.25)
    clear = msgspec.structs.replace(described.clear, value=0.5)
    card = model_card(replace(detector, description=msgspec.structs.replace(described, alarm=alarm, clear=clear)))
    assert "| `synthetic` | score above 0.5 |" in card
    assert "| `natural` | score below -0.25 |" in card
    assert "| `unsure` | between the two |" in card


HOSTILE = "<script>alert(1)</script> [x](http://evil) | `a` **b** ![i](//h) \u202e www.evil.example a@b.c"


def hostile(detector: Detector) -> Detector:
    """Return the detector with a text of others wherever one can stand."""
    described, images = detector.description, detector.images
    member = described.members[0]
    provenance: dict[str, Any] = {
        **member.provenance,
        "card": {"paper": HOSTILE, "reference": HOSTILE, "licence": HOSTILE},
        "input": HOSTILE,
        "weights": {HOSTILE: HOSTILE},
    }
    member = msgspec.structs.replace(member, licence=HOSTILE, backbone=HOSTILE, layer=HOSTILE, provenance=provenance)
    counts = msgspec.structs.replace(described.support, sources={HOSTILE: 20})
    return replace(
        detector,
        description=msgspec.structs.replace(
            described,
            name=HOSTILE,
            created=HOSTILE,
            parent=HOSTILE,
            members=(member,),
            support=counts,
            notes=(HOSTILE,),
            versions={HOSTILE: HOSTILE},
        ),
        images=replace(images, sources=np.where(images.roles == "known", HOSTILE, images.sources).astype(object)),
    )


def test_texts_of_others_are_neither_markdown_nor_html(detector: Detector) -> None:
    card = model_card(hostile(detector))
    for sign in ("<script", "](http", "http://", "`a`", "**b**", "![i]", "\u202e", "www.evil", "a@b.c"):
        assert sign not in card.replace("\\" + sign[0], "").replace("\\", "\0"), sign
    ours = [line for line in card.splitlines() if line.startswith("|")]
    for line in ours:
        cells = line.replace("\\|", "").count("|") - 1
        assert cells in (2, 4), line


def test_markdown_gives_the_hostile_text_back_as_text(detector: Detector) -> None:
    from markdown_it import MarkdownIt  # a requirement of schemathesis

    html = MarkdownIt("commonmark").enable("table").render(model_card(hostile(detector)))
    assert "<script" not in html
    assert "href=" not in html
    assert "<img" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt; [x](http://evil) | `a` **b** ![i](//h)") >= 10


def test_a_card_is_only_written_over_a_card(detector: Detector, tmp_path: Path) -> None:
    (tmp_path / "card.txt").write_text(model_card(detector), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("# My notes\n", encoding="utf-8")
    assert CARD.fits(tmp_path / "card.txt")
    assert not CARD.fits(tmp_path / "notes.txt")
