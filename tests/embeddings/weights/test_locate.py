"""Weight files are found where the user says, checked, and never replaced by random ones in silence."""

from pathlib import Path

import pytest

from fewshot.core.errors import OptionError, UnknownNameError, WeightsError
from fewshot.embeddings.card import BackboneCard, RandomWeights, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.weights.locate import PINS, locate, notices, require_known, resolve
from fewshot.embeddings.weights.requests import value_of

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of b"hello"
CLIP = WeightFile("clip.bin", part="clip", url="https://example.org/clip.bin")
HEAD = WeightFile("head.bin", part="head", optional=True)


def card(*weights: WeightFile, name: str = "tiny") -> BackboneCard:
    return BackboneCard(name=name, layers={"feature": 2}, layer="feature", input=InputRule(), weights=weights)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "clip.bin").write_bytes(b"hello")
    return tmp_path


def test_files_are_found_in_the_cache_and_an_absent_optional_one_is_left_out(cache: Path) -> None:
    assert resolve(card(CLIP, HEAD), cache=cache) == {"clip": cache / "clip.bin"}


def test_a_folder_of_the_backbones_own_is_searched_too(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "clip.bin").write_bytes(b"hello")

    assert resolve(card(CLIP), cache=tmp_path) == {"clip": tmp_path / "tiny" / "clip.bin"}


def test_named_files_go_to_their_parts(cache: Path) -> None:
    mine = cache / "mine.bin"
    mine.write_bytes(b"mine")

    assert resolve(card(CLIP, HEAD), [f"tiny={mine}", f"tiny.head={mine}", "other=random"], cache=cache) == {
        "clip": mine,
        "head": mine,
    }


def test_a_model_name_with_dots_is_not_taken_for_a_part(cache: Path) -> None:
    file = WeightFile("vit.bin")
    model = card(file, name="timm:vit.lvd142m")

    assert resolve(model, [f"timm:vit.lvd142m={cache / 'clip.bin'}"], cache=cache) == {"net": cache / "clip.bin"}
    assert resolve(model, [f"timm:vit.lvd142m.net={cache / 'clip.bin'}"], cache=cache) == {"net": cache / "clip.bin"}


def test_random_weights_come_only_on_request(cache: Path) -> None:
    head = cache / "head.own"
    head.write_bytes(b"x")

    assert resolve(card(CLIP, HEAD), ["tiny=random"], cache=cache) == {
        "clip": RandomWeights(),
        "head": RandomWeights(),
    }
    assert resolve(card(CLIP, HEAD), ["all=random", f"tiny.head={head}"]) == {"clip": RandomWeights(), "head": head}
    with pytest.raises(WeightsError, match=r"backbone 'tiny' needs clip\.bin \(clip\), which is not in .*fetch tiny"):
        resolve(card(CLIP), cache=cache / "empty")


def test_a_wrong_hash_is_refused(cache: Path) -> None:
    assert locate(WeightFile("clip.bin", sha256=HELLO[:8]), backbone="tiny", cache=cache) == cache / "clip.bin"
    with pytest.raises(WeightsError, match=r"clip\.bin has SHA-256 2cf24dba.*published is 00ff.*delete it"):
        locate(WeightFile("clip.bin", sha256="00ff"), backbone="tiny", cache=cache)


def test_an_unknown_hash_is_pinned_at_first_use(cache: Path) -> None:
    resolve(card(CLIP), cache=cache)
    assert HELLO in (cache / PINS).read_text()

    (cache / "clip.bin").write_bytes(b"other")

    with pytest.raises(WeightsError, match=r"the one pinned at first use is 2cf24dba"):
        resolve(card(CLIP), cache=cache)


@pytest.mark.parametrize("request_", ["tiny", "tiny=", "=x"])
def test_a_request_of_another_form_is_refused(request_: str, cache: Path) -> None:
    with pytest.raises(OptionError, match=r"--weights takes NAME=PATH"):
        resolve(card(CLIP), [request_], cache=cache)


def test_a_request_for_a_path_that_is_not_there_is_refused(cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"--weights tiny\.clip=/nowhere: there is no such file"):
        resolve(card(CLIP), ["tiny=/nowhere"], cache=cache)


def test_a_request_for_no_backbone_of_the_run_is_refused() -> None:
    require_known(["tiny.head=x", "all=random"], [card(CLIP, HEAD)])
    with pytest.raises(UnknownNameError, match=r"--weights 'tini'; did you mean 'tiny'"):
        require_known(["tini=x"], [card(CLIP, HEAD)])


def test_random_weights_and_restricted_licences_are_said_on_use() -> None:
    restricted = WeightFile("net.bin", part="clip", licence="CC BY-NC 4.0", non_commercial=True)

    assert notices(card(restricted), {"clip": HELLO}) == (
        "tiny: net.bin is for non-commercial use only (CC BY-NC 4.0)",
    )
    assert notices(card(CLIP), {"clip": HELLO}) == ()
    assert notices(card(restricted), {"clip": str(RandomWeights())}) == (
        "tiny: clip holds random weights; its numbers mean nothing",
    )


def test_a_folder_of_weight_files_is_searched_before_the_cache(cache: Path, tmp_path: Path) -> None:
    shared = tmp_path / "run=3" / "shared"
    (shared / "tiny").mkdir(parents=True)
    (shared / "tiny" / "clip.bin").write_bytes(b"hello")

    assert resolve(card(CLIP, HEAD), [str(shared)], cache=cache) == {"clip": shared / "tiny" / "clip.bin"}
    assert resolve(card(HEAD, CLIP), [str(shared), f"tiny.clip={cache / 'clip.bin'}"], cache=tmp_path / "none") == {
        "clip": cache / "clip.bin"
    }
    assert not (shared / PINS).exists()  # nothing is written into a folder of the user's


def test_a_file_of_the_cards_name_with_another_hash_is_refused_in_a_folder(cache: Path) -> None:
    published = WeightFile("clip.bin", sha256="00ff")

    with pytest.raises(WeightsError, match=r"clip\.bin has SHA-256 2cf24dba.*published is 00ff.*--weights tiny\.net="):
        resolve(card(published), [str(cache)], cache=cache / "none")
    assert resolve(card(published), [f"tiny={cache / 'clip.bin'}"]) == {"net": cache / "clip.bin"}


def test_a_file_that_is_in_no_folder_is_missing_from_all_of_them(cache: Path) -> None:
    wanted = WeightFile("other.bin", url="https://example.org/other.bin")

    with pytest.raises(WeightsError, match=rf"not in {cache} nor in {cache / 'none'}: run `fewshot"):
        resolve(card(wanted), [str(cache)], cache=cache / "none")


def test_a_folder_names_no_backbone_of_the_run(cache: Path) -> None:
    require_known([str(cache)], [card(CLIP)])
    assert value_of([str(cache), "tiny=a.bin"], "tiny") == "a.bin"
