"""Verification finds every kind of damage; inspection and export say what the store holds."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import fewshot
from fewshot.cli import group
from fewshot.core.errors import OutputError, StoreError
from fewshot.embeddings.store.export import export
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.verify import verify

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.fixture
def store(tree: Path, tmp_path: Path) -> FeatureStore:
    """A store of 12 images with one failure."""
    (tree / "natural/camera/9.png").write_bytes(b"no image")
    return fewshot.embed(tree, backbones=["mean-colour"], out=tmp_path / "a.h5", views=["clean", "jpeg:50"], quiet=True)


def test_a_fresh_store_is_sound(store: FeatureStore) -> None:
    found = verify(store.path)

    assert found.sound
    assert (found.images, found.layers, found.bytes_read) == (12, 6, 12 * 2 * (3 + 3 + 1) * 4)


@pytest.mark.parametrize("part", ["/samples/path", "/features/mean-colour/mean", "/failed/reason"])
def test_one_flipped_bit_in_a_chunk_is_found(store: FeatureStore, part: str) -> None:
    with h5py.File(store.path) as file:
        chunk = file[part].id.get_chunk_info(0)
        offset = chunk.byte_offset
    store.close()
    with store.path.open("r+b") as stream:
        stream.seek(offset + 3)
        byte = stream.read(1)[0]
        stream.seek(offset + 3)
        stream.write(bytes([byte ^ 4]))

    found = verify(store.path)

    assert not found.sound
    assert "cannot be read" in found.problems[0]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("/samples/source", "the samples have digest"),
        ("/samples/key", "the samples have digest"),
        ("/features/mean-colour/mean", "mean-colour/mean has digest"),
        ("/present/mean-colour", "absent rows and NaN do not agree"),
    ],
)
def test_a_changed_value_with_a_right_checksum_is_found(store: FeatureStore, part: str, text: str) -> None:
    store.close()
    with h5py.File(store.path, "r+") as file:
        values = file[part][:]
        file[part][:] = np.roll(values, 1, axis=0) if part != "/present/mean-colour" else ~values

    assert any(text in problem for problem in verify(store.path).problems)


def test_a_cut_file_is_a_store_error(store: FeatureStore) -> None:
    store.close()
    content = store.path.read_bytes()
    store.path.write_bytes(content[:-200])

    with pytest.raises(StoreError, match="cannot be read as HDF5"):
        verify(store.path)


def test_the_verify_command_says_sound_or_fails(store: FeatureStore) -> None:
    sound = CliRunner().invoke(group, ["verify", str(store.path)])
    store.close()
    with h5py.File(store.path, "r+") as file:
        file["/features/mean-colour/mean"][0, 0] = 7
    damaged = CliRunner().invoke(group, ["verify", str(store.path)])

    assert (sound.exit_code, damaged.exit_code) == (0, 1)
    assert "sound, 12 images, 6 layers" in sound.stdout
    assert "is damaged: mean-colour/mean has digest" in damaged.stderr


def test_inspect_tells_sources_layers_and_failures(store: FeatureStore) -> None:
    text = CliRunner().invoke(group, ["inspect", str(store.path)]).stdout
    found = json.loads(CliRunner().invoke(group, ["inspect", "--json", str(store.path)]).stdout)

    assert "12 images (6 natural, 6 synthetic)" in text
    assert "camera 3, phone 3" in text
    assert "natural/camera/9.png: not-an-image" in text
    assert "mean-colour/mean (default): 12 x 3 float32" in text
    assert found["digest"] == store.digest
    assert found["failed"][0]["key"] == "natural/camera/9.png"
    assert {layer["layer"] for layer in found["layers"]} == {"mean", "variance", "logit"}


def test_export_writes_what_the_store_reads(store: FeatureStore, tmp_path: Path) -> None:
    done = export(store, tmp_path / "out")

    frame = pd.read_parquet(tmp_path / "out" / "samples.parquet")
    matrix = np.load(tmp_path / "out" / "mean-colour" / "mean@jpeg:50.npy")
    assert len(done.files) == 6 + 3
    assert list(frame["key"]) == list(store.column("key"))
    assert frame["present.mean-colour"].all()
    np.testing.assert_array_equal(matrix, store.read(None, "mean-colour", "mean", view="jpeg:50"))
    with pytest.raises(OutputError, match="exists already"):
        export(store, tmp_path / "out")


def test_the_embed_command_prints_its_counts(tree: Path, tmp_path: Path) -> None:
    arguments = ["embed", str(tree), "-b", "mean-colour", "--layer", "mean-colour=mean,logit", "-o"]

    text = CliRunner().invoke(group, [*arguments, str(tmp_path / "a.h5")])
    found = json.loads(CliRunner().invoke(group, [*arguments, str(tmp_path / "b.h5"), "--json", "-q"]).stdout)

    assert text.exit_code == 0, text.stderr
    assert text.stdout.splitlines()[-1].endswith("a.h5: 12 images in = 12 rows + 0 failures")
    assert "layout folder, 12 images" in text.stderr
    assert (found["rows"], found["sealed"], found["failures"]) == (12, True, {})
    assert FeatureStore(tmp_path / "b.h5").layer_names("mean-colour") == ("mean",)


@pytest.mark.parametrize(
    ("option", "text"), [(["--layer", "mean"], "is not BACKBONE=LAYER"), (["--shard", "2"], "is not i/n")]
)
def test_misspelt_options_are_wrong_usage(tree: Path, tmp_path: Path, option: list[str], text: str) -> None:
    done = CliRunner().invoke(group, ["embed", str(tree), "-b", "mean-colour", "-o", str(tmp_path / "a.h5"), *option])

    assert done.exit_code == 2
    assert text in done.stderr


def test_shards_are_read_from_torchrun_and_slurm(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.embeddings.pipeline.units._UNIT_IMAGES", 4)
    arguments = ["embed", str(tree), "-b", "mean-colour", "-o", str(tmp_path / "a.h5"), "--json", "-q"]

    slurm = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "7"}
    first = CliRunner().invoke(group, arguments, env=slurm)
    second = CliRunner().invoke(group, arguments, env={"RANK": "1", "WORLD_SIZE": "2"})

    assert (json.loads(first.stdout)["sealed"], json.loads(first.stdout)["embedded"]) == (False, 8)
    assert (json.loads(second.stdout)["sealed"], json.loads(second.stdout)["embedded"]) == (True, 4)
