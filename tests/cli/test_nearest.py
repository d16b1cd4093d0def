"""``fewshot nearest`` on stores made by hand."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from fewshot.cli import group
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.inputs.images import decode
from fewshot.embeddings.inputs.views import parse, perturb
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.results.report import Report

SOURCES = {"camera": (0.0, 12), "model-a": (4.0, 12), "model-b": (8.0, 12)}


def fewshot(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, ["nearest", *map(str, arguments)])


def make_store(path: Path, *, seed: int = 0, weights: str = "abc", ids: str = "pixels") -> Path:
    """Three sources on three clusters of the plane, far apart, with a copy of the first image at the end."""
    generator = np.random.default_rng(seed)
    names = [name for name, (_, images) in SOURCES.items() for _ in range(images)]
    features = np.concatenate([generator.normal(at, 0.3, size=(images, 2)) for at, images in SOURCES.values()])
    features, names = np.concatenate([features, features[:1]]), [*names, names[0]]
    samples = pd.DataFrame(
        {
            "key": [f"{name}/{number}.png" for number, name in enumerate(names)],
            "path": [f"{name}/{number}.png" for number, name in enumerate(names)],
            "id": [f"{ids}-{number % 36}" for number in range(len(names))],
            "source": names,
            "synthetic": [name != "camera" for name in names],
            "prompt": [str(number // 2) for number in range(len(names))],
        }
    )
    facts = {"weights": {"net": weights}, "input": "native"}
    write_store(
        path, samples, [LayerData("net", "pooled", features.astype(np.float32), default=True, provenance=facts)]
    )
    return path


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_own_pixels_are_no_answer_and_the_accuracy_is_stated(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5")
    found = document(fewshot(store, "--query", store, "--metric", "l2", "--json"))
    by_name = {entry["image"]: entry for entry in found["images"]}
    assert len(by_name) == 37
    copies = {"camera/0.png", "camera/36.png"}
    for name in copies:
        assert not copies & {near["key"] for near in by_name[name]["neighbours"]}
    assert found["leave_one_out"]["accuracy"] == 1.0
    assert found["leave_one_out"]["queries"] == 37
    assert by_name["model-b/30.png"]["sources"][0]["source"] == "model-b"


def test_the_table_names_sources_scores_and_nearest_images(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5")
    result = fewshot(store, "--query", store, "--metric", "l2", "--per-source", "1", "-k", "3")
    assert result.exit_code == 0, result.output
    assert "model-a (share 1.00, p-value" in result.stdout
    assert "Source accuracy, own pixels left out: 1.000 of 3 images" in result.stdout
    assert result.stdout.count("nearest images") == 3
    assert "of 37 images of the store,\neach against the others, at most 5 % lie there" in result.stdout


def test_images_of_one_group_are_no_answer_to_each_other(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5")
    found = document(fewshot(store, "--query", store, "--group", "prompt", "-k", "34", "--metric", "l2", "--json"))
    answers = {entry["image"]: {near["key"] for near in entry["neighbours"]} for entry in found["images"]}
    assert "camera/5.png" not in answers["camera/4.png"]
    assert "camera/6.png" in answers["camera/4.png"]


def test_a_new_cluster_is_unknown_and_a_known_one_is_not(tmp_path: Path) -> None:
    store, stranger = make_store(tmp_path / "a.h5"), tmp_path / "b.h5"
    samples = pd.DataFrame(
        {"key": ["x", "y"], "id": ["1", "2"], "source": ["new", "camera"], "synthetic": [True, False]}
    )
    features = np.array([[30.0, -30.0], [0.1, 0.0]], np.float32)
    write_store(stranger, samples, [LayerData("net", "pooled", features, default=True)])
    found = document(fewshot(store, "--query", stranger, "--metric", "l2", "--json"))
    assert [entry["unknown"] for entry in found["images"]] == [True, False]
    assert found["images"][0]["p_value"] == pytest.approx(1 / 38)
    assert found["images"][0]["neighbours"][0]["score"] < found["unknown_below"]
    assert found["images"][1]["neighbours"][0]["score"] >= found["unknown_below"]
    assert found["leave_one_out"]["queries"] == 1


def test_a_store_made_with_other_weights_is_refused(tmp_path: Path) -> None:
    mine, other = make_store(tmp_path / "a.h5"), make_store(tmp_path / "b.h5", weights="xyz")
    result = fewshot(mine, "--query", other)
    assert result.exit_code == 1
    assert "the weight files ({'net': 'abc'} there, {'net': 'xyz'} here)" in result.stderr


def test_neither_images_nor_a_store_is_wrong_usage(tmp_path: Path) -> None:
    result = fewshot(make_store(tmp_path / "a.h5"))
    assert result.exit_code == 2
    assert "give IMAGE... or --query STORE, one of the two" in result.stderr
    assert f"fewshot nearest evaluate {tmp_path / 'a.h5'} -o REPORT.json" in result.stderr


def test_an_index_file_is_saved_and_then_used(tmp_path: Path) -> None:
    store, file = make_store(tmp_path / "a.h5"), tmp_path / "a.faiss"
    arguments = (store, "--query", store, "--metric", "l2", "--index", "hnsw", "--index-file", file, "--json")
    first, second = fewshot(*arguments), fewshot(*arguments)
    assert "hnsw: requested; recall@10 1.000 against exact search on 37 rows" in first.stderr
    assert "index saved as" in first.stderr
    assert "index saved" not in second.stderr
    assert json.loads(first.stdout) == json.loads(second.stdout)


@pytest.mark.parametrize("asked", [("--metric", "l2"), ("--index", "hnsw"), ("--where", "source=camera")])
def test_an_index_file_of_something_else_is_refused(tmp_path: Path, asked: tuple[str, str]) -> None:
    store, file = make_store(tmp_path / "a.h5"), tmp_path / "a.faiss"
    assert fewshot(store, "--query", store, "--index-file", file).exit_code == 0
    result = fewshot(store, "--query", store, "--index-file", file, *asked)
    assert result.exit_code == 1
    assert f"{asked[0]} " in result.stderr
    assert "give another --index-file" in result.stderr
    assert fewshot(store, "--query", store, "--index-file", file, "--metric", "cosine").exit_code == 0


def test_an_index_file_of_a_store_that_changed_is_refused(tmp_path: Path) -> None:
    store, file = make_store(tmp_path / "a.h5"), tmp_path / "a.faiss"
    assert fewshot(store, "--query", store, "--index-file", file).exit_code == 0
    make_store(store, seed=1)
    result = fewshot(store, "--query", store, "--index-file", file)
    assert result.exit_code == 1
    assert "delete the index and build it again" in result.stderr


def test_gallery_and_confusion_are_drawn(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5")
    drawn = ("--gallery", tmp_path / "g.html", "--confusion", tmp_path / "c.png")
    result = fewshot(store, "--query", store, "--metric", "l2", "--per-source", "2", *drawn)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "g.html").read_text().count('class="query"') == 6
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_the_experiment_prints_four_tables_and_writes_its_report(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5")
    result = fewshot("evaluate", store, "-o", tmp_path / "r.json", "--metric", "l2", "--shots", "1,2", "--trials", "3")
    assert result.exit_code == 0, result.output
    assert "net, layer pooled, l2, k 5; 3 sources, chance 0.333" in result.stdout
    assert "all 3 draws" in result.stdout
    for title in (
        "Source of every image",
        "A new source from a few images",
        "A source that was left out",
        "Synthetic sources against each other",
    ):
        assert title in result.stdout
    assert re.search(
        r"^   2      2     0\.\d{3}    0\.\d{3}-0\.\d{3} .* 0\.500       200$", result.stdout, re.MULTILINE
    )
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["protocol"] == "nearest"
    assert report["config"]["shots"] == [1, 2]
    measured = {(row["source"], row["metric"]): row["mean"] for row in report["summary"]}
    assert measured[("all", "source_accuracy")] == 1.0
    assert measured[("macro", "unknown_auroc")] == 1.0


def test_the_command_may_be_left_out_and_named(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5")
    asked = (store, "--query", store, "--metric", "l2", "--json")

    assert document(fewshot(*asked)) == document(fewshot("lookup", *asked)) == document(fewshot(*asked[1:], asked[0]))


@pytest.mark.parametrize("option", [("-o", "r.json"), ("--out=r.json",), ("--output", "r.json"), ("-or.json",)])
def test_the_earlier_way_to_evaluate_works_and_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "a.h5")

    result = fewshot("a.h5", *option, "--shots", "1", "--trials", "2")

    assert result.exit_code == 0, result.output
    assert f"fewshot nearest evaluate a.h5 {' '.join(option)} --shots 1 --trials 2" in result.stderr
    assert (tmp_path / "r.json").exists()


def test_a_mistyped_command_is_not_taken_for_a_store(tmp_path: Path) -> None:
    result = fewshot("evalute", tmp_path / "a.h5")

    assert result.exit_code == 2
    assert "there is no command and no store 'evalute'; did you mean 'evaluate'?" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("evaluate", "a.h5", "--gallery", "g.html"), "--gallery cannot be used here: it is an option of"),
        (("a.h5", "x.png", "--shots", "5"), "--shots cannot be used here: it is an option of"),
        (("evaluate", "a.h5", "--shots", "0,5"), "is not a list of numbers of at least 1"),
        (("evaluate", "a.h5", "--keep-scores"), "give -o REPORT.json"),
        (("evaluate", "a.h5", "--confusion", "no/c.png"), "there is no folder no"),
        (("a.h5", "x.png", "--gallery", "g.html", "--root", "none"), "--root none: there is no such folder"),
        (("a.h5", "x.png", "--root", "moved"), "--root cannot be used here: it is of --gallery"),
    ],
)
def test_a_wrong_option_is_refused_before_the_store_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)  # there is no a.h5
    (tmp_path / "moved").mkdir()

    result = fewshot(*arguments)

    assert result.exit_code in (1, 2)
    assert said in result.stderr


@pytest.mark.parametrize("arguments", [("evaluate",), ("--query", "a.h5")])
def test_an_unknown_column_is_refused_before_features_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "a.h5")
    monkeypatch.setattr("fewshot.embeddings.search.index.SourceIndex.__init__", _never)

    result = fewshot(*arguments, "a.h5", "--group", "promt")

    assert result.exit_code == 1
    assert "there is no column 'promt'; did you mean 'prompt'?" in result.stderr


def _never(*_: Any, **__: Any) -> None:
    raise AssertionError("features were read")


def test_a_reader_that_closes_the_pipe_finds_report_and_figure_whole(tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    command = f"{sys.executable} -m fewshot nearest evaluate a.h5 --shots 1 --trials 2 --metric l2 -q"

    done = subprocess.run(
        ["bash", "-c", f"{command} -o n.json --keep-scores --confusion c.png | head -1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.count("\n") == 1
    assert Report.load(tmp_path / "n.json").protocol == "nearest"
    assert (tmp_path / "n.npz").exists()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_closed_standard_output_leaves_gallery_and_figure_whole(tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    looked_up = "nearest a.h5 --query a.h5 --per-source 2 --gallery g.html --confusion c.png"

    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m fewshot {looked_up} >&-"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "could not be printed on the standard output" in done.stderr
    assert (tmp_path / "g.html").read_text().count('class="query"') == 6
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_tables_of_long_names_fit_a_hundred_columns_and_keep_the_file_names(tmp_path: Path) -> None:
    folder = "/".join(["a-folder-with-a-long-name"] * 6)
    names = [f"{'a-generator-with-a-very-long-name-' * 2}{number % 3}" for number in range(90)]
    samples = pd.DataFrame(
        {
            "key": [f"{folder}/{number:03}.png" for number in range(90)],
            "id": [str(number) for number in range(90)],
            "source": names,
            "synthetic": [number % 3 > 0 for number in range(90)],
        }
    )
    features = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    write_store(tmp_path / "a.h5", samples, [LayerData("net", "pooled", features, default=True)])

    found = fewshot(tmp_path / "a.h5", "--query", tmp_path / "a.h5")
    evaluated = fewshot("evaluate", tmp_path / "a.h5", "--shots", "1,2", "--trials", "12", "-q")

    assert (found.exit_code, evaluated.exit_code) == (0, 0)
    assert found.stdout.count("/012.png") > 1
    for text in (found.stdout, evaluated.stdout):
        assert max(map(len, text.splitlines())) <= 100


def moved_store(folder: Path) -> Path:
    """A store of nine small images, which were then moved from ``before`` to ``after``."""
    (folder / "before").mkdir()
    rows = []
    for number in range(9):
        path = folder / "before" / f"{number}.png"
        Image.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(path)
        rows.append({"key": path.name, "path": path.name, "id": str(number), "file_size": path.stat().st_size})
    samples = pd.DataFrame(rows).assign(source=["a", "b", "c"] * 3, synthetic=[False, True, True] * 3)
    features = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    layers = [LayerData("net", "pooled", features, default=True)]
    write_store(folder / "m.h5", samples, layers, roots=[str(folder / "before")])
    (folder / "before").rename(folder / "after")
    return folder / "m.h5"


def test_pictures_that_have_moved_are_counted_and_found_by_root(tmp_path: Path) -> None:
    store = moved_store(tmp_path)
    asked = (store, "--query", store, "--per-source", "1", "-k", "2", "--gallery", tmp_path / "g.html")

    lost, found = fewshot(*asked), (tmp_path / "g.html").read_text()
    assert "warning: 9 of 9 pictures cannot be shown" in lost.stderr
    assert "--root FOLDER says where" in " ".join(lost.stderr.split())
    assert "9 of 9 pictures cannot be shown" in found

    (tmp_path / "other").mkdir()
    result = fewshot(*asked, "--root", tmp_path / "other", "--root", tmp_path / "after")
    assert result.exit_code == 0, result.output
    assert "cannot be shown" not in result.stderr
    assert (tmp_path / "g.html").read_text().count("data:image/jpeg") == 9


def test_a_file_of_another_size_is_not_shown_for_the_image(tmp_path: Path) -> None:
    store = moved_store(tmp_path)
    for path in (tmp_path / "after").iterdir():
        path.write_bytes(path.read_bytes() + b"more")

    result = fewshot(store, "--query", store, "--gallery", tmp_path / "g.html", "--root", tmp_path / "after")

    assert "pictures cannot be shown" in result.stderr


def test_unreadable_images_alone_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    result = fewshot(spectrum_store(tmp_path), tmp_path / "empty.png", tmp_path / "none.png")
    assert result.exit_code == 1
    assert "none of 2 images can be read" in result.stderr
    assert result.stdout == ""


def spectrum_store(folder: Path, *, reencode: str = "") -> Path:
    """Two kinds of picture, embedded with a backbone that needs no weights, one by one."""
    backbone = create("spectrum", layers=("radial",)).load(device="cpu", weights={})
    rows, features = [], []
    for number in range(24):
        path = picture(folder / f"{number:02}.png", seed=number, fine=number % 2 == 0)
        image, facts = decode(path.read_bytes())
        image = perturb(image, parse(reencode or "clean").pixels, pixel_id=facts.id)
        rows.append({"key": path.name, "path": path.name, "id": facts.id, "source": ("fine", "coarse")[number % 2]})
        features.append(backbone.embed(torch.from_numpy(backbone.preprocess(image)[None]))["radial"].numpy()[0])
    made = {"weights": {}, "input": str(backbone.card.input), "reencode": reencode}
    layer = LayerData("spectrum", "radial", np.array(features), default=True, provenance=made)
    write_store(folder / "s.h5", pd.DataFrame(rows).assign(synthetic=False), [layer], roots=[str(folder)])
    return folder / "s.h5"


def picture(path: Path, *, seed: int, fine: bool) -> Path:
    small = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    noise = np.random.default_rng(seed + 100).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    image = Image.fromarray(noise) if fine else Image.fromarray(small).resize((128, 128), Image.Resampling.BICUBIC)
    image.save(path)
    return path


@pytest.mark.parametrize("reencode", ["", "jpeg:50"])
def test_an_image_is_embedded_as_the_store_was_and_finds_its_like(tmp_path: Path, reencode: str) -> None:
    store = spectrum_store(tmp_path, reencode=reencode)
    new = picture(tmp_path / "new.png", seed=77, fine=False)
    found = document(fewshot(store, new, tmp_path / "03.png", "--unknown-rate", "0", "--json"))
    assert found["images"][0]["sources"][0]["source"] == "coarse"
    assert found["images"][0]["sources"][0]["votes"] == 5
    assert found["images"][1]["sources"][0]["source"] == "coarse"
    assert "03.png" not in [near["key"] for near in found["images"][1]["neighbours"]]


def test_an_image_that_differs_in_one_pixel_scores_next_to_one_against_the_stored_one(tmp_path: Path) -> None:
    store = spectrum_store(tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "03.png")).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(tmp_path / "nearly.png")
    found = document(fewshot(store, tmp_path / "nearly.png", "--unknown-rate", "0", "--json"))
    assert found["images"][0]["neighbours"][0]["key"] == "03.png"
    assert found["images"][0]["neighbours"][0]["score"] > 0.9999


def test_readable_images_are_answered_before_the_others_are_named(tmp_path: Path) -> None:
    store = spectrum_store(tmp_path)
    (tmp_path / "cut.png").write_bytes((tmp_path / "01.png").read_bytes()[:200])
    result = fewshot(store, tmp_path / "cut.png", tmp_path / "01.png", "--unknown-rate", "0")
    assert result.exit_code == 1
    assert "01.png: coarse" in result.stdout
    assert "1 images could not be read" in result.stderr
    assert "cut.png" in result.stderr


def test_a_store_of_other_weights_or_input_is_refused(tmp_path: Path) -> None:
    samples = pd.DataFrame({"key": ["a"], "source": ["x"], "synthetic": [False]})
    layer = LayerData(
        "spectrum", "radial", np.ones((1, 64), np.float32), default=True, provenance={"input": "squash(9x9)"}
    )
    write_store(tmp_path / "s.h5", samples, [layer])
    result = fewshot(tmp_path / "s.h5", picture(tmp_path / "a.png", seed=1, fine=True))
    assert result.exit_code == 1
    assert "was produced with input = squash(9x9)" in result.stderr


@pytest.mark.parametrize(
    ("device", "sentence"),
    [("gpu", "--device 'gpu' is not a device; give auto, cpu"), ("cuda:99", "--device cuda:99: ")],
)
def test_an_unknown_device_gets_its_sentence(tmp_path: Path, device: str, sentence: str) -> None:
    image = picture(tmp_path / "a.png", seed=1, fine=True)

    result = fewshot(spectrum_store(tmp_path), image, "--device", device)

    assert result.exit_code == 1
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
