"""The whole audit and its command, on a store with one of every fault."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from click.testing import CliRunner

from fewshot.audit import audit
from fewshot.cli import group
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.results.report import Report


def faulty(path: Path) -> Path:
    images = 130
    frame = pd.DataFrame(
        {
            "key": [f"{row}.img" for row in range(images)],
            "id": [f"{row}" for row in range(images - 1)] + ["0"],
            "phash": np.random.default_rng(1).integers(1, 2**63, images, dtype=np.uint64),
            "source": np.repeat(["camera", "gan", "ldm"], [20, 100, 10]),
            "synthetic": np.repeat([False, True], [20, 110]),
            "format": np.repeat(["JPEG", "PNG"], [20, 110]),
            "jpeg_quality": np.repeat([95, -1], [20, 110]),
            "width": 64,
            "height": 48,
            "file_size": 900,
        }
    )
    present = np.ones(images, bool)
    present[7] = False
    write_store(
        path,
        frame,
        [
            LayerData(
                "net", "pooled", np.random.default_rng(2).normal(size=(images, 4)).astype(np.float32), present=present
            )
        ],
    )
    return path


def test_every_fault_has_its_warning(tmp_path: Path) -> None:
    found = audit(FeatureStore(faulty(tmp_path / "a.h5")), supports={"0": ["0.img"], "1": ["5.img"]})
    text = "\n".join(found.warnings)
    assert "file metadata alone" in text
    assert "1 pair of equal pixels is natural on one side and synthetic on the other" in text
    assert "1 of 2 trials have a duplicate of a support image" in text
    assert "fewer than 20 images of ldm" in text
    assert "20 natural and 110 synthetic" in text
    assert "1 images have no features of net" in text


def test_a_clean_store_has_no_warning(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "key": [str(row) for row in range(80)],
            "id": [str(row) for row in range(80)],
            "source": np.repeat(["camera", "gan"], 40),
            "synthetic": np.repeat([False, True], 40),
            "format": "PNG",
        }
    )
    write_store(tmp_path / "a.h5", frame, [])
    assert audit(FeatureStore(tmp_path / "a.h5")).warnings == ()


def test_remakes_of_one_group_are_expected_and_equal_pixels_of_both_classes_are_not(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "key": [str(row) for row in range(80)],
            "id": [str(row) for row in range(79)] + ["0"],
            "source": np.repeat(["camera", "gan"], 40),
            "synthetic": np.repeat([False, True], 40),
            "group": [str(row % 40) for row in range(79)] + ["0"],
            "phash": np.array([1 << (row % 40) for row in range(79)] + [1], np.uint64),
            "format": "PNG",
        }
    )
    write_store(tmp_path / "a.h5", frame, [])
    text = "\n".join(audit(FeatureStore(tmp_path / "a.h5"), radius=0).warnings)
    assert "1 pair of equal pixels is natural on one side and synthetic on the other: a label is wrong\n" in text
    assert (
        "39 pairs nearly alike are natural on one side and synthetic on the other, within one group: expected" in text
    )
    assert text.count("a label is wrong") == 1


def test_the_command_prints_metadata_confounds_duplicates_and_warnings(tmp_path: Path) -> None:
    result = CliRunner().invoke(group, ["audit", str(faulty(tmp_path / "a.h5"))])
    assert result.exit_code == 0, result.output
    assert "64x48 100%" in result.stdout
    assert "format and sizes  1.000" in result.stdout
    assert "exact  0.img  129.img" in result.stdout
    assert result.stdout.count("warning: ") == 6
    warnings = result.stdout[result.stdout.index("warning: ") :].splitlines()
    assert max(map(len, warnings)) <= 100


def test_json_holds_the_same_and_strict_exits_with_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(group, ["audit", str(faulty(tmp_path / "a.h5")), "--json", "--strict"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["confounds"][0]["auroc"] == 1.0
    counts = {"pairs": 1, "classes": 1, "sources": 1, "splits": 0, "groups": 1, "classes_of_one_group": 0}
    assert found["leaks"][0] == {"likeness": "exact", **counts}
    assert "6 warnings" in result.stderr


def test_duplicates_of_the_support_of_a_report_are_counted(tmp_path: Path) -> None:
    Report("fiser", {}, (), supports={"0": ["0.img"], "1": ["3.img"]}).save(tmp_path / "report.json")
    arguments = ["audit", str(faulty(tmp_path / "a.h5")), "--report", str(tmp_path / "report.json"), "--json"]
    found = json.loads(CliRunner().invoke(group, arguments).stdout)
    assert found["supports"] == {"0": 1, "1": 0}
