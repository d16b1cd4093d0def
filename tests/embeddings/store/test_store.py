"""A sealed store gives back what was written, refuses what it must, and pins every value by a digest."""

import hashlib
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from fewshot.core.errors import InputError, OutputError, StoreError, UnknownNameError
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.digests import text_digest
from fewshot.embeddings.store.failures import EVERY, Failure
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.sample_columns import FrameColumns
from fewshot.embeddings.store.writer import LayerData, LayerHeader, StoreWriter, write_store

ROWS = 40


def samples() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "key": [f"ünï/{i}.png" for i in range(ROWS)],
            "source": ["photos"] * 20 + ["gan"] * 10 + ["diffusion"] * 10,
            "synthetic": [False] * 20 + [True] * 20,
            "track": ["native", "harmonised"] * 20,
        }
    )


def features(columns: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, columns)).astype(np.float32)


def write(path: Path, *layers: LayerData) -> FeatureStore:
    write_store(path, samples(), layers or (LayerData("npr", "pooled", features(), default=True),))
    return FeatureStore(path)


def test_rows_come_back_in_the_order_asked_and_bit_by_bit(tmp_path: Path) -> None:
    store = write(tmp_path / "a.h5")
    rows = np.array([7, 3, 3, 39])

    assert np.array_equal(store.read(rows, "npr", "pooled"), features()[rows])
    assert np.array_equal(store.read(None, "npr", "pooled"), features())


def test_samples_keep_unicode_keys_and_extra_columns(tmp_path: Path) -> None:
    frame = write(tmp_path / "a.h5").samples()

    assert frame["key"].tolist() == samples()["key"].tolist()
    assert frame["track"].tolist() == samples()["track"].tolist()
    assert frame["synthetic"].tolist() == samples()["synthetic"].tolist()


def test_a_key_that_is_not_utf8_survives(tmp_path: Path) -> None:
    frame = samples().astype({"key": object})  # pandas' own text type refuses such names
    frame.loc[0, "key"] = b"bad-\xff.png".decode("utf-8", "surrogateescape")
    write_store(tmp_path / "a.h5", frame, [LayerData("npr", "pooled", features())])

    store = FeatureStore(tmp_path / "a.h5")
    assert store.column("key")[0] == store.samples()["key"][0] == frame["key"][0]


def test_select_takes_any_of_the_values_and_all_of_the_columns(tmp_path: Path) -> None:
    store = write(tmp_path / "a.h5")

    rows = store.select({"track": "native"}, source="gan,diffusion")

    assert rows.tolist() == list(range(20, 40, 2))
    assert store.select(synthetic="0").tolist() == list(range(20))


def test_select_of_a_value_that_is_not_there_lists_the_values(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has source=sdxl; the column holds: diffusion, gan, photos"):
        write(tmp_path / "a.h5").select(source="sdxl")


def test_absent_rows_are_refused_by_name_and_never_zero(tmp_path: Path) -> None:
    present = np.ones(ROWS, bool)
    present[5] = False
    store = write(tmp_path / "a.h5", LayerData("npr", "pooled", features(), present=present))

    with pytest.raises(StoreError, match="1 of 2 images have no features of 'npr'"):
        store.read(np.array([4, 5]), "npr", "pooled")
    assert np.isnan(store.file["/features/npr/pooled"][5]).all()


def test_the_digest_follows_values_samples_and_view_but_not_time_or_place(tmp_path: Path) -> None:
    first = write(tmp_path / "a.h5").digest
    again = write(tmp_path / "b.h5").digest
    changed = features()
    changed[0, 0] = np.nextafter(changed[0, 0], np.float32(9))

    assert first == again
    assert write(tmp_path / "c.h5", LayerData("npr", "pooled", changed, default=True)).digest != first
    assert write(tmp_path / "d.h5", LayerData("npr", "pooled", features(), view="jpeg:75")).digest != first


def test_layers_views_and_slashes_in_names_are_kept_apart(tmp_path: Path) -> None:
    store = write(
        tmp_path / "a.h5",
        LayerData("timm:hf/x@1", "blocks.1.cls", features(), default=True),
        LayerData("timm:hf/x@1", "blocks.1.cls", features() * 2, view="jpeg:75"),
        LayerData("timm:hf/x@1", "logit", features(1)),
    )

    assert store.backbones == ("timm:hf/x@1",)
    assert store.layer_names("timm:hf/x@1") == ("blocks.1.cls",)
    assert store.views("timm:hf/x@1") == ("clean", "jpeg:75")
    assert store.has_logit("timm:hf/x@1")
    assert np.array_equal(store.read(None, "timm:hf/x@1", "blocks.1.cls", view="jpeg:75"), features() * 2)


def test_unknown_backbone_layer_and_view_are_named(tmp_path: Path) -> None:
    store = write(tmp_path / "a.h5")

    with pytest.raises(UnknownNameError, match="did you mean 'npr'"):
        store.read(None, "nrp", "pooled")
    with pytest.raises(UnknownNameError, match="did you mean 'pooled'"):
        store.read(None, "npr", "poled")
    with pytest.raises(UnknownNameError, match="view of npr"):
        store.read(None, "npr", "pooled", view="blur:1")


def test_a_flipped_byte_in_a_feature_is_an_error_not_a_value(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    store = write(path)
    offset = store.file["/features/npr/pooled"].id.get_chunk_info(0).byte_offset
    store.close()
    content = bytearray(path.read_bytes())
    content[offset + 10] ^= 1
    path.write_bytes(content)

    with pytest.raises(StoreError, match=r"layer 'pooled' of 'npr' is damaged"):
        FeatureStore(path).read(None, "npr", "pooled")


def test_files_that_are_no_sealed_store_are_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other.attrs["format"] = "x"
    with h5py.File(tmp_path / "unsealed.h5", "w") as unsealed:
        unsealed.attrs.update(format="fewshot-store", version=1, sealed=False)
    with h5py.File(tmp_path / "newer.h5", "w") as newer:
        newer.attrs.update(format="fewshot-store", version=99, sealed=True)
    (tmp_path / "half.h5.parts").mkdir()

    expected = {
        "text": "cannot be read as HDF5",
        "other": "not a fewshot store",
        "unsealed": "is not sealed; run the same",
        "newer": "store version 99",
        "none": "there is no store",
        "half": "is not finished; run the same",
    }
    for name, message in expected.items():
        with pytest.raises(StoreError, match=message):
            FeatureStore(tmp_path / f"{name}.h5")


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "none" / "a.h5")


def test_a_writer_that_fails_leaves_the_old_store_and_no_rubbish(tmp_path: Path) -> None:
    before = write(tmp_path / "a.h5").digest

    with pytest.raises(StoreError, match="39 rows for 40 samples"):
        write(tmp_path / "a.h5", LayerData("npr", "pooled", features()[:-1]))

    assert FeatureStore(tmp_path / "a.h5").digest == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_a_writer_that_is_left_without_sealing_leaves_nothing(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a.h5", FrameColumns(samples())) as writer:
        writer.add(LayerData("npr", "pooled", features()))

    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_ends_early_is_refused(tmp_path: Path) -> None:
    def write_short() -> None:
        with StoreWriter(tmp_path / "a.h5", FrameColumns(samples())) as writer:
            writer.add_blocks(LayerHeader(LayerKey("npr", "pooled"), 6), [features()[:30]])

    with pytest.raises(StoreError, match="layer 'pooled' of 'npr' ended after 30 of 40 rows"):
        write_short()
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_refuses_while_hdf5_writes_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # as HDF5 words it, the error's number in its text
        raise RuntimeError("Can't decrement id ref count (file write failed: errno = 28, error message = 'No space')")

    monkeypatch.setattr("fewshot.embeddings.store.writer.ChunkWriter.append", refuse)

    with pytest.raises(OutputError, match=r"a\.h5 cannot be written: no space is left on its disk"):
        write(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_failures_are_what_was_written_and_a_frame_of_them(tmp_path: Path) -> None:
    listed = [
        Failure("bad-\udcff.png", EVERY, EVERY, "truncated"),
        Failure("b.png", "npr", "clean", "not-finite"),
    ]
    write_store(tmp_path / "a.h5", samples(), [LayerData("npr", "pooled", features())], failures=listed)

    store = FeatureStore(tmp_path / "a.h5")
    assert store.failures() == tuple(listed)
    assert [failure.of_image for failure in store.failures()] == [True, False]
    assert store.failed().to_dict("records")[0] == {
        "key": "bad-\udcff.png",
        "backbone": "*",
        "view": "*",
        "reason": "truncated",
    }


def test_the_rows_of_a_view_that_is_not_there_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"there is no view of npr in .* 'jpeg:75'. Known: clean"):
        write(tmp_path / "a.h5").present("npr", view="jpeg:75")


POOL = """
import multiprocessing, sys
import numpy as np
from fewshot.embeddings.store.failures import EVERY, Failure
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.sample_columns import FrameColumns

if __name__ == "__main__":
    store = FeatureStore(sys.argv[1])
    rows = np.array([1, 30])
    expected = store.read(rows, "npr", "pooled")
    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
        found = pool.starmap(FeatureStore.read, [(store, rows, "npr", "pooled")] * 4)
    sys.exit(not all(np.array_equal(each, expected) for each in found))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_open_store_may_cross_to_other_processes(tmp_path: Path, method: str) -> None:
    write(tmp_path / "a.h5").close()
    script = tmp_path / "pool.py"
    script.write_text(POOL)

    subprocess.run([sys.executable, str(script), str(tmp_path / "a.h5"), method], check=True, timeout=120)


def test_the_digest_of_a_text_column_covers_every_value_and_a_zero_byte_behind_it() -> None:
    values = ["", "a", "with\0zero", "ends with zero\0", "caf\xe9", "x" * 300] * 1000
    column = np.array([value.encode() for value in values], dtype="S")

    expected = hashlib.sha256(b"".join(value.encode().rstrip(b"\0") + b"\0" for value in values))

    assert text_digest(column) == expected.digest()
    assert text_digest(column[:0]) == hashlib.sha256().digest()


def test_features_of_another_type_than_stores_keep_are_refused(tmp_path: Path) -> None:
    samples = pd.DataFrame({"key": ["a"], "source": ["cam"], "synthetic": [False]})
    with pytest.raises(StoreError, match=r"layer 'x', are float64, and a store keeps float32 or float16"):
        write_store(tmp_path / "a.h5", samples, [LayerData("net", "x", np.zeros((1, 2)))])
