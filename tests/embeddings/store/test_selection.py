"""``--where``: every value that a store holds can be selected, and one that matches nothing is named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from fewshot.core.errors import InputError, OptionError
from fewshot.embeddings.store.layer_data import LayerData
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.selection import _shown, rows_where, values_of
from fewshot.embeddings.store.writer import write_store

SOURCES = ["cam", "gen", "midjourney", "a,b", 'say "x"', "a=b", "two words", "", "1", "naïve"]


def store(path: Path, sources: list[str]) -> FeatureStore:
    frame = pd.DataFrame(
        {
            "key": [f"{number}.png" for number in range(len(sources))],
            "source": sources,
            "synthetic": np.arange(len(sources)) % 2 == 1,
            "note": sources,
        }
    )
    write_store(path, frame, [LayerData("npr", "pooled", np.ones((len(sources), 2), np.float32), default=True)])
    return FeatureStore(path)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return store(tmp_path_factory.mktemp("store") / "s.h5", SOURCES)


@pytest.mark.parametrize("number", range(len(SOURCES)))
@pytest.mark.parametrize("column", ["source", "note"])
def test_every_value_that_a_store_holds_can_be_selected(held: FeatureStore, number: int, column: str) -> None:
    assert held.select({column: _shown(SOURCES[number])}).tolist() == [number]
    assert held.select({column: f"cam,{_shown(SOURCES[number])}"}).tolist() == sorted({0, number})
    assert held.select({column: [SOURCES[number]]}).tolist() == [number]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cam,gen,midjurney", r"has source=midjurney; did you mean 'midjourney' for 'midjurney'\?; the column holds"),
        ("cam, gen", r'has source=" gen"; did you mean \'gen\' for \' gen\'\?'),
        ("CAM", r"has source=CAM; did you mean 'cam' for 'CAM'\?"),
        ("a,b", r'has source=a,b; for the one value write source="a,b"; the column holds'),
        ("cam,zzz,qqq", r"has source=zzz,qqq; the column holds"),
    ],
)
def test_a_value_that_matches_nothing_is_named_with_the_nearest(held: FeatureStore, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        held.select(source=text)


@pytest.mark.parametrize("text", ['"cam', '"cam"x', 'cam,"'])
def test_quotes_that_do_not_fit_are_refused(held: FeatureStore, text: str) -> None:
    with pytest.raises(OptionError, match="quotes that do not fit"):
        held.select(source=text)


def test_values_are_read_as_they_are_shown() -> None:
    assert values_of(",".join(map(_shown, SOURCES)), option="source") == SOURCES


def test_a_value_that_only_the_other_store_holds_is_no_error(held: FeatureStore, tmp_path: Path) -> None:
    other = store(tmp_path / "t.h5", ["sora", "cam"])

    assert rows_where(held, {"source": "cam,sora"}, what="s.h5", also=[other]).tolist() == [0]
    with pytest.raises(InputError, match="has source=kling"):
        rows_where(held, {"source": "cam,kling"}, what="s.h5", also=[other])
    with pytest.raises(InputError, match="has source=sora"):
        rows_where(held, {"source": "sora"}, what="s.h5", also=[other])


def test_the_same_column_twice_is_refused_on_the_command_line(held: FeatureStore) -> None:
    from fewshot.cli import group

    done = CliRunner().invoke(group, ["audit", str(held.path), "--where", "source=cam", "--where", "source=gen"])

    assert done.exit_code == 2
    assert "'source' is given twice ('cam' and 'gen')" in done.output
