"""What every registered backbone keeps, found by discovery: a new one cannot be forgotten."""

import ast
import io
import os
import pickle  # noqa: TID251  # rules travel to worker processes
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.parity_peers import RECORDED
from fewshot.core.errors import UnknownNameError, WeightsError
from fewshot.embeddings.backbones.base import BACKBONES, Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.backbones.parity import read_recipe
from fewshot.embeddings.inputs.images import decode
from fewshot.embeddings.inputs.transforms import CenterCrop
from fewshot.embeddings.weights.locate import locate, resolve

TESTS = Path(__file__).resolve().parents[1]
TOLERANCE = 1e-4


def photograph(seed: int, *, height: int = 290, width: int = 330) -> Image.Image:
    """A smooth gradient with texture, so that no branch sees pure noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / (5 + seed) + channel) + np.cos(columns / (9 + channel)) for channel in range(3)]
    pixels = 128 + 40 * np.stack(waves, axis=-1) + generator.normal(0, 8, size=(height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))


def test_card_states_every_fact_without_weights(spec: str) -> None:
    backbone = create(spec)
    card = backbone.card

    assert card.name in (spec, spec.partition(":")[0])
    assert card.layer in card.layers
    assert all(dimension > 0 for dimension in card.layers.values())
    assert all((card.paper, card.reference, card.licence, card.note))
    assert None not in (card.parameters, card.gflops)
    assert card.equality in ("golden", "code-equivalent", "unverified")
    for file in card.weights:
        assert file.licence
        assert file.url or file.repository or file.package or file.manual, f"{file.file}: nobody could find it"
    assert len({file.part for file in card.weights}) == len(card.weights)


@cache
def recorded() -> frozenset[str]:
    """The variants that a recording of the authors' code is of."""
    recipe = read_recipe(TESTS / "golden")
    return frozenset(recipe.spec(file.stem) for file in (TESTS / "golden").glob("*.npz")) | set(RECORDED)


@cache
def proven_by_tests() -> frozenset[str]:
    """The backbones that some test compares with a second writing, by its mark."""
    found: set[str] = set()
    for file in TESTS.rglob("test_*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        marks = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "second_writing"]
        found |= {str(name.value) for mark in marks for name in mark.args if isinstance(name, ast.Constant)}
    return frozenset(found)


def test_every_variant_states_how_its_equality_is_known(spec: str) -> None:
    member = spec.partition(":")[0]
    written = bool({spec, member if BACKBONES.load(member).generic else spec} & proven_by_tests())

    expected = "golden" if spec in recorded() else "code-equivalent" if written else "unverified"

    assert create(spec).card.equality == expected


def test_only_what_needs_a_gpu_is_unverified(spec: str) -> None:
    assert (create(spec).card.equality == "unverified") == (spec == "dire")


def test_parameters_and_operations_are_those_of_the_network(spec: str) -> None:
    backbone = create(spec)
    if backbone.generic:  # their cards count in this very way
        return
    image = np.asarray(backbone.preprocess(photograph(1, height=300, width=400)))
    with torch.device("meta"):
        backbone.network = backbone.build().eval().requires_grad_(False)
    backbone.device = torch.device("meta")

    assert sum(parameter.numel() for parameter in backbone.network.parameters()) == backbone.card.parameters
    if backbone.name in ("lgrad", "dire"):  # a gradient inside the pass; forty passes, counted in test_diffusion.py
        return
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.features(backbone.normalise(torch.from_numpy(image)[None].to("meta")))

    assert counter.get_total_flops() / 1e9 == pytest.approx(backbone.card.gflops, rel=0.03, abs=0.01)


def test_input_rule_travels_to_workers_and_takes_any_size(spec: str) -> None:
    rule = create(spec).card.input

    travelled = pickle.loads(pickle.dumps(rule))

    assert travelled == rule
    assert hash(travelled) == hash(rule)
    for height, width in ((31, 31), (1, 1), (40, 5000), (300, 257)):
        image = photograph(1, height=height, width=width)
        prepared = np.asarray(travelled(image))
        np.testing.assert_array_equal(prepared, np.asarray(rule(image)))
        if rule.fixed_size is not None:
            assert prepared.shape[-2:] == rule.fixed_size


def test_rules_travel_to_workers_without_torch(tmp_path: Path) -> None:
    from tests.contracts.conftest import all_specs

    (tmp_path / "rules").write_bytes(pickle.dumps([create(spec).card.input for spec in all_specs()]))
    code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb')); print('torch' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", code, str(tmp_path / "rules")], text=True).strip() == "False"


@dataclass(frozen=True)
class Embedded:
    """What one network gives for the images of this file, embedded once for all tests of it.

    A ViT-L takes seconds an image. A heavy network of one input size therefore sees four rows: a photograph, another
    one, an image of one pixel, and the first photograph again, among other neighbours.

    Args:
        batch: the preprocessed images.
        together: the features of the batch.
        alone, again: those of its first image, twice.
    """

    batch: torch.Tensor
    together: dict[str, torch.Tensor]
    alone: dict[str, torch.Tensor]
    again: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def embedded(loaded: Backbone, heavy: bool) -> Embedded:
    """The batch of this network with its features."""
    one_size = loaded.card.input.fixed_size is not None
    size = {} if one_size else {"height": 96, "width": 110}
    images = [photograph(seed, **size) for seed in range(2 if heavy else 7)]
    if heavy:
        images += [*([decode(SIZES["1x1"])[0]] if one_size else []), images[0]]
    batch = torch.from_numpy(np.stack([prepared(loaded, image) for image in images]))
    return Embedded(batch, loaded.embed(batch), loaded.embed(batch[:1]), loaded.embed(batch[:1]))


def test_rows_do_not_depend_on_batch_order_or_run(
    spec: str, loaded: Backbone, embedded: Embedded, heavy: bool, device: str
) -> None:
    together, alone, again = embedded.together, embedded.alone, embedded.again
    shuffled = together if heavy else loaded.embed(embedded.batch[[6, 3, 0, 5, 1, 4, 2]])
    places = [(-1, 0)] if heavy else [(0, 6), (1, 3), (2, 0), (3, 5), (4, 1), (5, 4), (6, 2)]
    for layer, values in together.items():
        assert values.shape == (len(embedded.batch), loaded.dimension(layer))
        assert torch.isfinite(values).all()
        assert relative(alone[layer][0], values[0]) <= TOLERANCE, layer
        assert max(relative(shuffled[layer][there], values[here]) for there, here in places) <= TOLERANCE, layer
        assert torch.equal(alone[layer], again[layer]), layer
    # other images must lie further off than the same image in another batch, or the above says nothing
    default = together[loaded.card.layer]
    assert relative(default[0], default[1]) > 10 * relative(alone[loaded.card.layer][0], default[0])
    assert set(together) == set(loaded.layers)


def prepared(backbone: Backbone, image: Image.Image) -> NDArray[np.generic]:
    return np.asarray(backbone.preprocess(image))


def test_a_backbone_without_weights_never_runs_on_random_ones(spec: str, tmp_path: Path) -> None:
    card = create(spec).card
    needed = [file for file in card.weights if not file.optional and not file.package]

    if needed:
        with pytest.raises(WeightsError, match=r"which is not in .*--weights .*=PATH"):
            resolve(card, cache=tmp_path)
        with pytest.raises(WeightsError, match="which is not"):
            create(spec).load(device="cpu", weights={})
    else:
        resolve(card, cache=tmp_path)


def file_of(image: Image.Image, container: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, container)
    return stream.getvalue()


SMALL = photograph(2, height=60, width=50)
SIZES = {
    f"{width}x{height}": file_of(photograph(2, height=height, width=width))
    for width, height in ((1, 1), (31, 31), (5000, 40))
}
MODES = {
    "grey": file_of(SMALL.convert("L")),
    "palette": file_of(SMALL.convert("P")),
    "alpha": file_of(SMALL.convert("RGBA")),
    "CMYK": file_of(SMALL.convert("CMYK"), "JPEG"),
    "16 bit": file_of(Image.fromarray(np.asarray(SMALL.convert("L")).astype(np.uint16) * 257)),
}


def test_images_of_any_size_and_mode_become_inputs(spec: str) -> None:
    backbone = create(spec)
    size = backbone.card.input.fixed_size
    for name, data in {**SIZES, **MODES}.items():
        image, _ = decode(data)
        batch = backbone.normalise(torch.from_numpy(prepared(backbone, image))[None])
        assert torch.isfinite(batch).all(), name
        assert batch.shape[-3] == 3, name
        assert size in (None, tuple(batch.shape[-2:])), name


def test_images_of_any_size_give_finite_features(
    spec: str, loaded: Backbone, embedded: Embedded, heavy: bool, device: str
) -> None:
    if heavy and loaded.card.input.fixed_size:  # whatever the image, the network sees one size
        assert all(torch.isfinite(values[2]).all() for values in embedded.together.values())
        return
    for name, data in SIZES.items():
        image, _ = decode(data)
        found = loaded.embed(torch.from_numpy(prepared(loaded, image))[None])
        assert all(torch.isfinite(values).all() for values in found.values()), name


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was-run",)


def another(path: Path) -> None:
    torch.save({"model": {"somewhere.weight": torch.ones(3, 3)}}, path)


def cut_short(path: Path) -> None:
    another(path)
    path.write_bytes(path.read_bytes()[:200])


def malicious(path: Path) -> None:
    torch.save({"model": Malicious()}, path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (another, r"bad\.pth for backbone .* does not fit the network: .*; give this detector's own checkpoint"),
        (cut_short, r"bad\.pth is (truncated|damaged).*; fetch it again"),
        (malicious, r"bad\.pth would have to be unpickled.* convert it once with `fewshot weights convert"),
    ],
    ids=["another", "cut-short", "malicious"],
)
def test_a_bad_checkpoint_is_refused_in_one_sentence(
    spec: str, bad: Callable[[Path], None], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad(tmp_path / "bad.pth")
    backbone = create(spec)
    if not backbone.card.weights:
        return

    # shapes without values: a network of 3 GB is built in no time, and nothing gets as far as filling it
    with pytest.raises(WeightsError, match=message) as refused, torch.device("meta"):
        backbone.load(device="cpu", weights={file.part: tmp_path / "bad.pth" for file in backbone.card.weights})

    assert ". " not in str(refused.value).replace("et al. ", "")
    assert not (tmp_path / "was-run").exists()


def test_a_file_that_is_not_the_published_one_is_refused(spec: str, tmp_path: Path) -> None:
    card = create(spec).card
    for file in card.weights:
        if file.package:
            continue
        (tmp_path / file.file).write_bytes(b"not what was published")
        if file.sha256 or file.md5:
            with pytest.raises(WeightsError, match=rf"{re.escape(file.file)} has .* published is .* delete it and run"):
                locate(file, backbone=card.name, cache=tmp_path)
        else:
            assert locate(file, backbone=card.name, cache=tmp_path) is not None
            (tmp_path / file.file).write_bytes(b"something else later")
            with pytest.raises(WeightsError, match=r"pinned at first use is .* delete it and run"):
                locate(file, backbone=card.name, cache=tmp_path)


def test_unknown_names_variants_and_layers_are_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="there is no backbone 'ferretnt'; did you mean 'ferretnet'"):
        create("ferretnt")
    with pytest.raises(UnknownNameError, match=r"no backbone 'mobilenet_v2'; .* is torchvision:mobilenet_v2$"):
        create("mobilenet_v2")
    with pytest.raises(UnknownNameError, match="no variant of npr 'crop22'; did you mean 'crop224'"):
        create("npr:crop22")
    with pytest.raises(UnknownNameError, match="no layer of npr 'featur'; did you mean 'feature'"):
        create("npr", layers=("featur",))


def test_names_of_default_variants_are_short() -> None:
    assert create("npr:resize256").card.name == create("npr").card.name == "npr"
    assert create("npr:crop224").card.name == "npr:crop224"
    assert create("npr:crop224").card.input.steps == (CenterCrop(224, 224),)
