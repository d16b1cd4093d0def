"""``import`` takes each field of an archive in its declared type and domain, and refuses the rest by a sentence."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from fewshot.cli import group
from fewshot.core.errors import InputError, OptionError, OutputError
from fewshot.embeddings.store.archive_metadata import as_json
from fewshot.embeddings.store.fiser_archive import import_archive
from fewshot.embeddings.store.reader import FeatureStore
from tests.hostile.unsuitable import make_unsuitable

NAN, INF = float("nan"), float("inf")


def archive(folder: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "embeddings": {3: torch.eye(4, 6).to(torch.bfloat16), 7: torch.ones(4, 2) / 3},
        "ids": torch.arange(4),
        "labels": torch.tensor([2, 0, 1, 2]),
        "binary_labels": torch.tensor([1, 0, 1, 1]),
        "classes": ["nature", "b-net", "a-net"],
        "metadata": {"normalized": True, "model_name": "dinov3"},
    }
    torch.save({**content, **changes}, folder / "bench.pt")
    return folder / "bench.pt"


def refused(folder: Path, message: str, **changes: Any) -> None:
    import_archive(archive(folder), folder / "s.h5")
    older = (folder / "s.h5").read_bytes()
    with pytest.raises(InputError, match=message):
        import_archive(archive(folder, **changes), folder / "s.h5")
    assert (folder / "s.h5").read_bytes() == older
    assert {path.name for path in folder.iterdir()} == {"bench.pt", "s.h5"}


def quantised(values: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(values, 0.1, 0, torch.qint8)


def with_value(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    values = torch.ones(4, 2, dtype=dtype)
    values[2, 1] = value
    return values


LABELS = {
    "0.9": (torch.tensor([1.0, 0.9, 1.0, 1.0]), r"binary_labels must be 0 .natural. or 1 .*binary_labels\[1\] is 0\.9"),
    "0.9 in a list": ([1, 0.9, 1, 1], r"binary_labels\[1\] is 0\.9"),
    "NaN": (torch.tensor([1.0, NAN, 1.0, 1.0]), r"binary_labels\[1\] is nan"),
    "infinite": ([1.0, INF, 1.0, 1.0], r"binary_labels\[1\] is inf"),
    "two": (torch.tensor([1, 0, 2, 1]), r"and are \[0, 1, 2\]"),
    "negative": (torch.tensor([1, 0, -1, 1]), r"and are \[-1, 0, 1\]"),
    "beyond 64 bits": ([1, 0, 2**70, 1], "holds numbers beyond 64 bits"),
    "text": (["1", "0", "1", "1"], "and is a list of str"),
    "null": ([1, None, 1, 1], "and is a list of NoneType, int"),
    "complex": (torch.tensor([1 + 2j, 0, 1, 1]), "and is complex64"),
    "a matrix": (torch.ones(4, 1, dtype=torch.int64), r"and is int64 of shape \(4, 1\)"),
    "a number": (torch.tensor(1), r"and is int64 of shape \(\)"),
    "sparse": (torch.tensor([1, 0, 1, 1]).to_sparse(), "and is a sparse tensor"),
    "meta": (torch.ones(4, dtype=torch.int64, device="meta"), "and is on the device 'meta'"),
    "expanded": (torch.ones(1, dtype=torch.int64).expand(4), "and is expanded"),
    "a mapping": ({0: 1}, "and is a dict"),
    "short": (torch.tensor([1, 0, 1]), "3 binary_labels for 4 ids"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_are_zero_or_one_exactly(kind: str, tmp_path: Path) -> None:
    values, message = LABELS[kind]
    refused(tmp_path, message, binary_labels=values)


@pytest.mark.parametrize("values", [[1, 0, 1, 1], [True, False, True, True], [1.0, 0.0, 1.0, 1.0], (1, 0, 1, True)])
@pytest.mark.parametrize("make", [lambda values: values, torch.tensor])
def test_labels_of_every_whole_form_mean_the_same(make: Callable[[Any], Any], values: Any, tmp_path: Path) -> None:
    import_archive(archive(tmp_path, binary_labels=make(values)), tmp_path / "s.h5")
    assert FeatureStore(tmp_path / "s.h5").synthetic.tolist() == [True, False, True, True]


SOURCES = {
    "negative": (torch.tensor([2, 0, -1, 2]), "source -1 has no name among the 3 classes"),
    "too large": (torch.tensor([2, 0, 3, 2]), "source 3 has no name among the 3 classes"),
    "halves": (torch.tensor([2, 0.5, 1, 2]), r"labels must be whole numbers, and labels\[1\] is 0\.5"),
    "text": (["a", "b", "a", "a"], "labels must be whole numbers, one per image, and is a list of str"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_source_numbers_have_names(kind: str, tmp_path: Path) -> None:
    values, message = SOURCES[kind]
    refused(tmp_path, message, labels=values)


LAYERS: dict[str, tuple[Callable[[], Any], str]] = {
    "NaN": (lambda: with_value(NAN), r"layer 3 has NaN or infinite values as float32 in 1 of 4 rows, .* id 2"),
    "infinite": (lambda: with_value(-INF), "layer 3 has NaN or infinite values"),
    "too large for float32": (lambda: with_value(1e300), "layer 3 has NaN or infinite values as float32 in 1 of 4"),
    "complex": (lambda: torch.ones(4, 2, dtype=torch.complex64), "of floats, and is complex64"),
    "whole numbers": (lambda: torch.ones(4, 2, dtype=torch.int32), "of floats, and is int32, not floating"),
    "booleans": (lambda: torch.ones(4, 2, dtype=torch.bool), "of floats, and is bool, not floating"),
    "float8": (lambda: torch.ones(4, 2).to(torch.float8_e5m2), "and is float8_e5m2"),
    "a vector": (lambda: torch.ones(4), r"and is of shape \(4,\)"),
    "a cube": (lambda: torch.ones(4, 2, 2), r"and is of shape \(4, 2, 2\)"),
    "a number": (lambda: torch.tensor(1.0), r"and is of shape \(\)"),
    "no dimension": (lambda: torch.ones(4, 0), r"and is of shape \(4, 0\)"),
    "a list": (lambda: [[1.0, 2.0]] * 4, "and is a list, not a tensor"),
    "sparse": (lambda: torch.eye(4).to_sparse(), "and is a sparse tensor"),
    "meta": (lambda: torch.ones(4, 2, device="meta"), "and is on the device 'meta'"),
    "quantised": (lambda: quantised(torch.ones(4, 2)), "and is quantised"),
    "expanded to 4 TB": (lambda: torch.ones(1).expand(4, 250 << 30), "and is expanded: 4294967296000 bytes declared"),
    "expanded rows": (lambda: torch.ones(1, 2).expand(4, 2), "and is expanded: 32 bytes declared, 8 in the file"),
    "short": (lambda: torch.ones(3, 2), "3 rows of layer 3 for 4 ids"),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_are_dense_finite_matrices_of_floats(kind: str, tmp_path: Path) -> None:
    make, message = LAYERS[kind]
    refused(tmp_path, message, embeddings={3: make(), 7: torch.ones(4, 2)})


def test_floats_of_every_width_come_over(tmp_path: Path) -> None:
    wide = torch.tensor([[0.1], [1e-40], [3e38], [-1.0]], dtype=torch.float64)
    layers = {
        "double": wide,
        "half": torch.tensor([[65504.0], [6e-8], [0.1], [-1.0]], dtype=torch.float16),
        "transposed": torch.arange(8.0).reshape(2, 4).T,
        "trained": torch.ones(4, 1, requires_grad=True),
        "parameter": torch.nn.Parameter(torch.ones(4, 1)),
    }
    import_archive(archive(tmp_path, embeddings=layers), tmp_path / "s.h5")
    store = FeatureStore(tmp_path / "s.h5")
    for name, values in layers.items():
        expected = values.detach().numpy().astype(np.float32)
        np.testing.assert_array_equal(store.read(None, "dinov3", name), expected)


NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "layers 1 and '1'": ({"embeddings": {1: torch.ones(4, 2), "1": torch.ones(4, 2)}}, "has two layers '1'"),
    "layer of a fraction": ({"embeddings": {1.5: torch.ones(4, 2)}}, "and one by a float"),
    "layer True": ({"embeddings": {True: torch.ones(4, 2)}}, "and one by a bool"),
    "layer of thousands of digits": ({"embeddings": {10**500: torch.ones(4, 2)}}, "more than 255 bytes"),
    "layer ..": ({"embeddings": {"..": torch.ones(4, 2)}}, r"'\.\.' cannot be the name of a layer: it means a folder"),
    "layer with NUL": ({"embeddings": {"a\0b": torch.ones(4, 2)}}, "cannot be the name of a layer: it has control"),
    "layer of half a character": ({"embeddings": {"\ud800": torch.ones(4, 2)}}, "or halves of a character"),
    "no layer": ({"embeddings": {}}, "holds no layer"),
    "layers in a list": ({"embeddings": [torch.ones(4, 2)]}, "embeddings must be a mapping of layers, and is a list"),
    "layers of shared memory": (
        {"embeddings": dict.fromkeys("abc", torch.ones(4, 2))},
        r"its layers share memory \(96 bytes in 32\)",
    ),
    "two images of one id": ({"ids": [1, 2, 2, 3]}, "ids has '2' twice"),
    "ids 1 and '1'": ({"ids": [1, "1", 2, 3]}, "ids has '1' twice"),
    "ids of fractions": ({"ids": torch.tensor([0.5, 1.5, 2.5, 3.5])}, "ids must be whole numbers or texts"),
    "ids of booleans": ({"ids": [True, False, 2, 3]}, "and are a list of bool, int"),
    "an id with a line break": ({"ids": ["a", "b\nc", "d", "e"]}, r"ids\[1\] 'b\\nc' cannot be a name: it has control"),
    "an empty id": ({"ids": ["a", "", "d", "e"]}, r"ids\[1\] '' cannot be a name: it is empty"),
    "an id of a megabyte": ({"ids": ["a" * 10**6, "b", "c", "d"]}, "more than 255 bytes"),
    "no image": ({"ids": []}, "holds no image"),
    "a matrix of ids": ({"ids": torch.ones(2, 2, dtype=torch.int64)}, r"and are int64 of shape \(2, 2\)"),
    "two sources of one name": ({"classes": ["a", "b", "a"]}, "classes has 'a' twice"),
    "a source that is a number": ({"classes": ["a", "b", 3]}, "classes must be a list of source names, and is a list"),
    "sources in a mapping": ({"classes": {0: "a", 1: "b", 2: "c"}}, "must be a list of source names, and is a dict"),
    "a source with an escape": ({"classes": ["a", "b", "\x1b[2J"]}, r"classes\[2\] '\\x1b\[2J' cannot be a name"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_are_text_and_unique(kind: str, tmp_path: Path) -> None:
    changes, message = NAMES[kind]
    refused(tmp_path, message, **changes)


METADATA: dict[str, tuple[Any, str]] = {
    "normalized as text": ({"normalized": "False"}, "normalized must be True or False, and is 'False'"),
    "normalized as a number": ({"normalized": 0}, "normalized must be True or False, and is '0'"),
    "normalized as null": ({"normalized": None}, "normalized must be True or False, and is 'None'"),
    "a name of another type": ({"model_name": ["dinov3"]}, "model_name must be text"),
    "a list": ([("normalized", True)], "metadata must be a mapping, and is a list"),
    "a megabyte": ({"log": "x" * 10**6}, "at most 32000 are kept"),
    "many values": ({"log": list(range(10**5))}, "holds too many values"),
    "two entries of one name": ({"log": 1, "1": 2, 1: 3}, "has two entries '1'"),
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_is_typed_and_bounded(kind: str, tmp_path: Path) -> None:
    metadata, message = METADATA[kind]
    refused(tmp_path, message, metadata=metadata)


def test_metadata_that_doubles_at_every_depth_or_holds_itself_ends() -> None:
    doubled: Any = 1
    for _ in range(60):
        doubled = [doubled, doubled]
    endless: dict[str, Any] = {}
    endless["again"] = endless
    for value in (doubled, endless):
        with pytest.raises(InputError, match="nested too deeply or holds too many values"):
            as_json({"value": value}, where="m.pt: metadata")


def test_metadata_that_is_no_json_becomes_text() -> None:
    given = {"a": NAN, "b": torch.ones(2, 3), "c": b"\xff", 4: 10**400, "d": "\ud800", "e": {1}, "f": 1j, "g": None}
    found = as_json(given, where="m.pt: metadata")
    assert found == {
        "a": "nan",
        "b": "Tensor of shape (2, 3)",
        "c": "\\xff",
        "4": str(10**400)[:200],
        "d": "\\ud800",
        "e": [1],
        "f": "1j",
        "g": None,
    }


@pytest.mark.parametrize("name", ["..", ".", "", "a\0b", "\ud800", "a\nb"])
def test_a_name_of_a_backbone_that_cannot_be_stored_is_refused_with_the_option(name: str, tmp_path: Path) -> None:
    path = archive(tmp_path)
    with pytest.raises(OptionError, match=r"cannot be a name in a store: .* give --backbone another one"):
        import_archive(path, tmp_path / "s.h5", backbone=name)
    with pytest.raises(OptionError, match=r"cannot be a name in a store: .* give --dataset another one"):
        import_archive(path, tmp_path / "s.h5", dataset=name)
    if name:
        path = archive(tmp_path, metadata={"model_name": name})
        with pytest.raises(OptionError, match="give --backbone another one"):
            import_archive(path, tmp_path / "s.h5")
        import_archive(path, tmp_path / "s.h5", backbone="mine")
        assert FeatureStore(tmp_path / "s.h5").backbones == ("mine",)


def test_a_flipped_bit_of_a_feature_is_found(tmp_path: Path) -> None:
    path = archive(tmp_path)
    content = bytearray(path.read_bytes())
    position = content.index((torch.ones(4, 2) / 3).numpy().tobytes())
    content[position + 5] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"the archive .*bench\.pt is damaged and was refused .*checksum"):
        import_archive(path, tmp_path / "s.h5")


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "folder"])
def test_what_is_no_regular_file_of_torch_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.pt"
    make_unsuitable(path, kind)
    with pytest.raises(InputError, match=r"cannot be read \(it is a|refused unread \(it begins with zeros"):
        import_archive(path, tmp_path / "s.h5")


def test_the_archive_is_never_overwritten(tmp_path: Path) -> None:
    path = archive(tmp_path)
    before = path.read_bytes()
    (tmp_path / "link.pt").symlink_to(path)
    for out in (path, tmp_path / "link.pt"):
        with pytest.raises(OutputError, match="is read by this command"):
            import_archive(path, out)
    assert path.read_bytes() == before


def test_the_command_says_one_sentence(tmp_path: Path) -> None:
    path = archive(tmp_path, binary_labels=torch.tensor([1, 0.9, 1, 1]))
    result = CliRunner().invoke(group, ["import", str(path), "-o", str(tmp_path / "s.h5")])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "binary_labels[1] is 0.9" in result.stderr
