"""Every report over a store whose file metadata separates the classes says so, with the number."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.attribution import Attribution
from fewshot.protocols.base import Protocol
from fewshot.protocols.fiser import Fiser
from fewshot.protocols.nearest import Nearest
from fewshot.results.report import Report

PROTOCOLS: list[Protocol] = [
    Fiser(shots=(2,), trials=2),
    Nearest(shots=(1,), trials=2),
    Attribution(fractions=(1.0,), trials=1, references=(), recipe={"steps": 5}),
]


def store_of(folder: Path, formats: list[str]) -> FeatureStore:
    generator = np.random.default_rng(3)
    sources = np.repeat(["camera", "phone", "gan", "sd15"], 30)
    frame = pd.DataFrame(
        {
            "key": [str(row) for row in range(120)],
            "id": [str(row) for row in range(120)],
            "source": sources,
            "synthetic": np.isin(sources, ["gan", "sd15"]),
            "format": np.repeat(formats, 60),
        }
    )
    features = generator.normal(size=(120, 8)).astype(np.float32)
    write_store(folder / "a.h5", frame, [LayerData("net", "pooled", features, default=True)])
    return FeatureStore(folder / "a.h5")


def told(report: Report) -> list[str]:
    return [warning for warning in report.warnings if "file metadata alone" in warning]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_the_report_carries_the_warning_with_its_number(tmp_path: Path, protocol: Protocol) -> None:
    (warning,) = told(protocol.run(store_of(tmp_path, ["JPEG", "PNG"])).report)
    assert "AUROC 1.000" in warning


def test_files_that_tell_nothing_give_no_warning(tmp_path: Path) -> None:
    assert told(Fiser(shots=(2,), trials=2).run(store_of(tmp_path, ["JPEG", "JPEG"])).report) == []
