"""What the pipeline shares, says and refuses: one decode, one geometry, its lines, and facts that must not change."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import fewshot
from fewshot.cli import group
from fewshot.core.errors import InputError, StoreError
from fewshot.embeddings.extract import extract
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CenterCrop, Squash, Step
from fewshot.embeddings.inputs.views import gaussian_weights, parse
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.pipeline.prepare import Input, Job, Preparation, prepare
from fewshot.embeddings.pipeline.timing import Timing
from fewshot.embeddings.store.reader import FeatureStore

pytestmark = pytest.mark.usefixtures("fakes")


def run(root: Path, out: Path, *backbones: str, **options: Any) -> FeatureStore:
    return fewshot.embed(root, backbones=list(backbones), out=out, **{"workers": 0, "quiet": True, **options})


@final
@dataclass(frozen=True)
class Counted(Step):
    """Leaves the image as it is, and counts how often it was asked."""

    name: str
    calls: ClassVar[list[str]] = []

    def __call__(self, image: Image.Image) -> Image.Image:
        self.calls.append(self.name)
        return image

    def __str__(self) -> str:
        return self.name


class CountedFolder(Layout):
    """Counts how often a file is read."""

    name: ClassVar[str] = "counted"
    reads: ClassVar[list[str]] = []

    def recognises(self, root: Path) -> bool:
        return False

    def samples(self, root: Path) -> Iterator[Sample]:
        yield from ()

    def read(self, root: Path, sample: Sample) -> bytes:
        self.reads.append(sample.path)
        return super().read(root, sample)


def test_an_image_is_read_once_and_every_distinct_geometry_is_computed_once(tree: Path) -> None:
    Counted.calls.clear()
    CountedFolder.reads.clear()
    first, second, third = Counted("first"), Counted("second"), Counted("third")
    jpeg = parse("jpeg:50").pixels
    inputs = (
        Input((), (first, second)),
        Input((), (first, third)),
        Input((), (first, second, third)),
        Input(jpeg, (first,)),
    )
    recipe = Preparation((tree,), (CountedFolder(),), inputs)

    prepared = prepare(recipe, Job(0, 0, Sample("natural/camera/0.png", "camera", False)))

    assert len(prepared.inputs) == 4
    assert CountedFolder.reads == ["natural/camera/0.png"]
    assert Counted.calls == ["first", "second", "third", "third", "first"]


def test_chained_views_are_embedded_as_pillow_makes_them(tree: Path, tmp_path: Path) -> None:
    store = run(tree, tmp_path / "a.h5", "mean-colour", views=["resize:0.5+jpeg:75", "crop:0.5", "webp:60"])

    for row, path in enumerate(store.column("path")):
        image = Image.open(tree / path)
        half = image.resize((round(image.width / 2), round(image.height / 2)), Image.Resampling.BICUBIC)
        half.save(tmp_path / "half.jpg", quality=75)
        small = np.asarray(Image.open(tmp_path / "half.jpg").resize((8, 8), Image.Resampling.BILINEAR), dtype=float)
        found = store.read(np.array([row]), "mean-colour", "mean", view="resize:0.5+jpeg:75")[0]
        np.testing.assert_allclose(found, small.mean(axis=(0, 1)) / 255, rtol=1e-5)
    assert store.views("mean-colour") == ("crop:0.5", "resize:0.5+jpeg:75", "webp:60")


def test_input_blur_and_unsharp_act_on_the_input_of_a_whole_run(tree: Path, tmp_path: Path, fakes: Any) -> None:
    weights = {"projection": fakes.write_projection(tmp_path / "one.pth", seed=1)}
    state = torch.load(tmp_path / "one.pth", weights_only=True)
    views = ["input-blur:0.55", "input-unsharp:0.55", "jpeg:75+input-blur:0.55"]
    store = run(tree, tmp_path / "a.h5", "projection", weights=weights, views=views)
    kernel = np.outer(gaussian_weights(0.55, radius=1), gaussian_weights(0.55, radius=1))

    for row, path in enumerate(store.column("path")):
        small = Image.open(tree / path).resize((8, 8), Image.Resampling.BILINEAR)
        unit = np.asarray(small, dtype=np.float64).transpose(2, 0, 1) / 255
        padded = np.pad(unit, ((0, 0), (1, 1), (1, 1)), mode="reflect")
        shifted = [kernel[i, j] * padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
        blurred = np.sum(shifted, axis=0)
        for view, pixels in (("input-blur:0.55", blurred), ("input-unsharp:0.55", np.clip(2 * unit - blurred, 0, 1))):
            flat = ((pixels - 0.5) / 0.25).reshape(-1)
            expected = state["1.weight"].double().numpy() @ flat + state["1.bias"].double().numpy()
            found = store.read(np.array([row]), "projection", "out", view=view)[0]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert not np.allclose(
        store.read(None, "projection", "out", view="jpeg:75+input-blur:0.55"),
        store.read(None, "projection", "out", view="input-blur:0.55"),
        atol=1e-4,
    )


def test_the_first_line_names_device_precision_batch_size_and_decoder(tree: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(
        group, ["embed", str(tree), "-b", "mean-colour", "-o", str(tmp_path / "a.h5"), "--batch-size", "5"]
    )

    lines = said.stderr.splitlines()
    assert lines[0] == f"{tree}: layout folder, 12 images"
    assert lines[1].split() == ["natural", "camera", "3,", "phone", "3"]
    assert lines[3].startswith(
        "12 images to embed with mean-colour on cpu in fp32, batch size 5, no decoding processes, "
    )
    assert "pillow " in lines[3]


def test_the_summary_splits_the_time_and_gives_advice(tree: Path, tmp_path: Path) -> None:
    done = extract(tree, backbones="mean-colour", out=tmp_path / "a.h5", workers=0, quiet=True)

    timing = done.timing
    parts = (timing.read, timing.decode, timing.preprocess, timing.forward, timing.write)
    assert all(seconds > 0 for seconds in parts)
    assert sum(parts) <= timing.wall + timing.write + 0.5
    split, advice, _ = done.summary()[-3:]
    for name in ("read", "decode", "preprocess", "forward", "write"):
        assert f"{name} {getattr(timing, name):.1f} s" in split
    assert "-bound: " in advice
    assert set(done.to_json()["seconds"]) == set(vars(timing))


@pytest.mark.parametrize(
    ("timing", "workers", "advice"),
    [
        (Timing(read=1, decode=6, preprocess=1, forward=3), 2, "decode-bound: raise --workers (now 2)"),
        (Timing(read=9, decode=6, preprocess=1, forward=3), 0, "read-bound: raise --workers (now 0)"),
        (Timing(read=1, decode=2, preprocess=5, forward=3), 1, "preprocess-bound: raise --workers (now 1)"),
        (Timing(read=1, decode=6, preprocess=1, forward=9), 2, "forward-bound: a GPU, a lighter backbone"),
    ],
)
def test_advice_follows_from_what_was_waited_for(timing: Timing, workers: int, advice: str) -> None:
    assert timing.advice(workers).startswith(advice)


def test_a_published_split_is_checked_from_the_command_line(tree: Path, tmp_path: Path) -> None:
    command = ["embed", str(tree), "-b", "mean-colour", "-o", str(tmp_path / "a.h5"), "-q"]

    wrong = CliRunner().invoke(group, [*command, "--expect-count", "13"])
    other = CliRunner().invoke(group, [*command, "--expect-sources", "camera,phone,gan"])
    right = CliRunner().invoke(
        group, [*command, "--expect-count", "12", "--expect-sources", "camera,phone,gan,diffusion"]
    )

    assert (wrong.exit_code, other.exit_code, right.exit_code) == (1, 1, 0)
    assert "13 images were expected and 12 found" in wrong.stderr
    assert "unexpected ['diffusion']" in other.stderr


@pytest.mark.parametrize("command_line", [False, True])
def test_a_run_of_failures_only_is_an_error_and_strict_stops_at_the_first(
    tree: Path, tmp_path: Path, command_line: bool
) -> None:
    for path in tree.rglob("*.png"):
        path.write_bytes(b"text")
    if command_line:
        command = ["embed", str(tree), "-b", "mean-colour", "-o", str(tmp_path / "a.h5"), "-q"]
        whole, strict = (CliRunner().invoke(group, [*command, *more]) for more in ([], ["--strict"]))
        assert (whole.exit_code, strict.exit_code) == (1, 1)
        assert "none of the 12 images could be used" in whole.stderr
        assert "natural/camera/0.png: not-an-image" in strict.stderr
    else:
        with pytest.raises(InputError, match="none of the 12 images could be used"):
            run(tree, tmp_path / "a.h5", "mean-colour")
    assert not (tmp_path / "a.h5").exists()


def test_strict_is_as_strict_with_rows_that_are_not_finite(tree: Path, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tree / "natural/camera/dark.png")

    with pytest.raises(InputError, match=r"natural/camera/dark\.png: not-finite.*--strict"):
        run(tree, tmp_path / "a.h5", "not-finite", strict=True)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"store_dtype": "float16"}, 'the type features are stored in (then "float32", now "float16")'),
        ({"precision": "bf16"}, 'the precision (then "fp32", now "bf16")'),
        ({"decoder": "torchvision"}, 'the decoder (then "pillow", now "torchvision")'),
    ],
)
def test_what_must_not_change_is_refused_with_both_values(
    tree: Path, tmp_path: Path, options: dict[str, str], what: str
) -> None:
    run(tree, tmp_path / "a.h5", "mean-colour")

    with pytest.raises(StoreError) as error:
        run(tree, tmp_path / "a.h5", "mean-colour", **options)

    assert what in str(error.value)


def test_changed_preprocessing_is_refused_with_both_rules(
    tree: Path, tmp_path: Path, fakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tree, tmp_path / "a.h5", "mean-colour")
    card = fakes.MeanColour().make_card()
    rule = InputRule((CenterCrop(8, 8),))
    changed = type(card)(card.name, card.layers, card.layer, rule, has_logit=True)
    monkeypatch.setattr(fakes.MeanColour, "make_card", lambda _: changed)

    with pytest.raises(
        StoreError, match=r"the preprocessing \(then \"squash\(8x8,bilinear\).*now \"center-crop\(8x8\)"
    ):
        run(tree, tmp_path / "a.h5", "mean-colour")


def test_rows_do_not_depend_on_the_order_images_arrive_in(tmp_path: Path) -> None:
    def plant(root: Path, sizes: Iterator[int]) -> Path:
        for number, size in enumerate(sizes):
            folder = root / ("natural/x" if number % 2 else "synthetic/y")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02}.png")
        return root

    root = plant(tmp_path / "images", iter([900, 8, 8, 700, 8, 8, 600, 8, 8, 8] * 2))

    alone = run(root, tmp_path / "a.h5", "mean-colour", "native-size")
    many = run(root, tmp_path / "b.h5", "mean-colour", "native-size", workers=3)

    assert alone.digest == many.digest
    np.testing.assert_array_equal(alone.column("key"), many.column("key"))
    assert list(alone.column("key")) == sorted(alone.column("key"))


def test_equal_geometries_of_two_backbones_are_one_input() -> None:
    assert Input((), (Squash(8, 8),)) == Input((), (Squash(8, 8),))
    assert len({Input((), (Squash(8, 8),)), Input((), (Squash(8, 8),)), Input((), (Squash(8, 9),))}) == 2
