"""The demo's images: from installed photographs only, alike in everything but the pixels, grouped by photograph."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.core.errors import FewshotError, OutputError
from fewshot.demo.generators import GENERATORS, remade
from fewshot.demo.images import write_images
from fewshot.demo.photographs import PHOTOGRAPHS, TILE_PIXELS, Photograph, natural_tiles

FEW = tuple(photograph for photograph in PHOTOGRAPHS if photograph.name in {"coins", "motorcycle", "china"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve tiles of three photographs, and their fakes."""
    folder = tmp_path_factory.mktemp("demo")
    write_images(folder, photographs=FEW, most=4)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_photograph_is_installed_and_gives_whole_tiles() -> None:
    tiles = list(natural_tiles(most=2))
    assert {tile.photograph for tile in tiles} == {photograph.name for photograph in PHOTOGRAPHS}
    assert all(tile.pixels.shape == (TILE_PIXELS, TILE_PIXELS, 3) for tile in tiles)


def test_a_tile_is_cut_from_its_photograph_unchanged() -> None:
    (tile,) = natural_tiles((PHOTOGRAPHS[0],), most=1)
    with Image.open(PHOTOGRAPHS[0].paths()[0]) as image:
        whole = np.asarray(image.convert("RGB"))
    assert any(
        np.array_equal(whole[top : top + TILE_PIXELS, left : left + TILE_PIXELS], tile.pixels)
        for top in range(0, 512, TILE_PIXELS)
        for left in range(0, 512, TILE_PIXELS)
    )


def test_tiles_of_a_photograph_do_not_repeat() -> None:
    tiles = list(natural_tiles())
    assert len({tile.pixels.tobytes() for tile in tiles}) == len(tiles)


def test_the_table_lists_every_file_once_and_nothing_else(folder: Path) -> None:
    listed = [row["path"] for row in rows(folder)]
    on_disk = {str(path.relative_to(folder)) for path in folder.rglob("*.png")}
    assert set(listed) == on_disk
    assert len(listed) == len(on_disk) == 12 * (1 + len(GENERATORS))


def test_synthetic_is_one_for_all_but_natural(folder: Path) -> None:
    assert {(row["source"], row["synthetic"]) for row in rows(folder)} == {
        ("natural", "0"),
        *((name, "1") for name in GENERATORS),
    }


def test_both_files_of_a_stereo_pair_are_one_group(folder: Path) -> None:
    assert {row["group"] for row in rows(folder) if "motorcycle" in row["path"]} == {"motorcycle"}
    assert {row["group"] for row in rows(folder)} == {"coins", "motorcycle", "china"}


def test_natural_and_fake_files_differ_in_nothing_but_pixels(folder: Path) -> None:
    facts = set()
    for row in rows(folder):
        with Image.open(folder / row["path"]) as image:
            facts.add((image.format, image.size, image.mode, tuple(sorted(image.info))))
    assert facts == {("PNG", (TILE_PIXELS, TILE_PIXELS), "RGB", ())}


def test_the_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_images(tmp_path, photographs=FEW, most=4)
    for row in rows(folder):
        assert (folder / row["path"]).read_bytes() == (tmp_path / row["path"]).read_bytes()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match=r"the folder .*file.* cannot be made: Not a directory; .* by -o"):
        write_images(blocked, photographs=FEW, most=1)


def test_a_missing_package_is_named_with_the_install_command() -> None:
    absent = Photograph("moon", "no_such_package", "data", ("moon.png",))
    with pytest.raises(FewshotError, match=r"'no_such_package', which is not installed.*fewshot\[demo\]"):
        absent.paths()


def test_a_missing_photograph_is_named() -> None:
    absent = Photograph("mars", "skimage", "data", ("mars.png",))
    with pytest.raises(FewshotError, match=r"mars\.png.*constraints\.txt"):
        absent.paths()


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_grey_tile_stays_grey(generator: str) -> None:
    grey = np.stack([tile.pixels for tile in natural_tiles(FEW[:1], most=2)])
    made = remade(grey, generator=generator, seed=0)
    assert np.array_equal(grey[..., 0], grey[..., 2])
    assert np.array_equal(made[..., 0], made[..., 1])
    assert np.array_equal(made[..., 0], made[..., 2])


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_fake_looks_like_its_tile_but_is_not_it(generator: str) -> None:
    tiles = np.stack([tile.pixels for tile in natural_tiles(FEW, most=4)])
    made = remade(tiles, generator=generator, seed=0)
    error = np.sqrt(np.mean((made.astype(float) - tiles) ** 2, axis=(1, 2, 3)))
    assert (error > 0.5).all()
    assert (error < 40).all()


def test_transposed_convolution_leaves_a_checkerboard() -> None:
    flat = np.full((1, 64, 64, 3), 120, np.uint8)
    made = remade(flat, generator="transposed-convolution", seed=0)[0, ..., 0].astype(float)
    phases = [made[row::2, column::2].mean() for row in (0, 1) for column in (0, 1)]
    assert max(phases) - min(phases) > 2
    assert np.ptp(made[0::2, 0::2]) == 0  # no border: every pixel of a phase has the same taps


def test_autoencoder_returns_what_lies_in_its_bottleneck() -> None:
    ramp = np.tile(np.linspace(20, 220, 64).astype(np.uint8)[None, :, None], (64, 1, 3))[None]
    made = remade(ramp, generator="autoencoder", seed=0)
    assert np.abs(made.astype(int) - ramp).max() <= 1


def test_spectral_keeps_low_frequencies_and_flattens_high_ones() -> None:
    tiles = np.stack([tile.pixels for tile in natural_tiles(FEW[:1], most=2)])
    made = remade(tiles, generator="spectral", seed=0)
    before, after = (np.abs(np.fft.rfft2(images[0, ..., 0].astype(float))) for images in (tiles, made))
    assert np.allclose(before[:6, :6], after[:6, :6], rtol=0.05, atol=60)
    ring = (slice(50, 60), slice(45, 60))
    assert np.log(after[ring] + 1).std() < 0.6 * np.log(before[ring] + 1).std()


def test_codebook_has_no_more_shapes_than_words() -> None:
    random = np.random.default_rng(0)
    planes = random.random((2, 64, 64))
    made = GENERATORS["codebook"](planes, np.random.default_rng(1))
    patches = made.reshape(2, 16, 4, 16, 4).transpose(0, 1, 3, 2, 4).reshape(-1, 16)
    centred = patches - patches.mean(axis=1, keepdims=True)
    shapes = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert len(np.unique(shapes.round(6), axis=0)) <= 256 < len(patches)
