"""The listed cards are those of the backbones, whether they are kept as JSON or asked of a member."""

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from fewshot.core.errors import UnknownNameError
from fewshot.core.registry import Registry
from fewshot.embeddings.backbones import cards, catalogue
from fewshot.embeddings.backbones.creation import create

OTHERS = '''
from fewshot.embeddings.backbones.npr import Npr


class Mine(Npr):
    """A backbone of another package."""

    name = "mine"
'''


def test_the_kept_cards_are_those_of_the_backbones() -> None:
    assert cards.FILE.read_text(encoding="utf-8") == cards.document(), "a card has changed; run `make cards`"


def test_a_kept_card_says_what_the_backbone_says() -> None:
    for spec in ("npr", "npr:resize256", "lgrad", "efficientnet-lite0"):
        assert cards.card(create(spec).full_name) == cards.ListedCard.of(create(spec).card), spec


def test_a_variant_that_is_not_kept_is_asked_of_the_backbone() -> None:
    (row,) = catalogue.backbones(("npr:crop224+tile",))

    assert row["input"].startswith("tile-to(224) > ")
    with pytest.raises(UnknownNameError, match="there is no variant of npr 'crop223'; did you mean 'crop224'"):
        catalogue.backbones(("npr:crop223",))


def test_a_backbone_of_another_package_is_listed_beside_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "others_backbone.py").write_text(OTHERS)
    monkeypatch.syspath_prepend(tmp_path)
    ours = list(entry_points(group="fewshot.backbones"))

    def found(group: str) -> list[Any]:
        return [*ours, EntryPoint("mine", "others_backbone:Mine", group)]

    monkeypatch.setattr("fewshot.core.registry.entry_points", found)
    monkeypatch.setattr(cards, "BACKBONES", Registry("fewshot.backbones", "backbone"))

    listed = cards.member("mine")

    assert listed.summary == "A backbone of another package."
    assert list(listed.cards) == list(cards.member("npr").cards)


def test_a_generic_adapter_is_one_row_that_says_how_to_see_a_model() -> None:
    (row,) = catalogue.backbones(("timm",))

    assert row["name"] == "timm:NAME"
    assert "`fewshot list backbones timm:NAME` shows one model" in row["note"]
    assert catalogue.weight_files(("timm",)) == []


def test_a_file_that_variants_share_is_listed_once() -> None:
    needed = catalogue.weight_files(("npr",))

    assert len({(each.file.part, each.file.file) for each in needed}) == len(needed)
