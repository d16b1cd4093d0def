"""Trees that the data of Fleet, OmniDFA and FSD and AIGenImages2026 have, against samples written down by hand."""

from pathlib import Path

import pytest

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Sample
from fewshot.embeddings.layouts.collection import Collection, collect
from fewshot.embeddings.layouts.omnifake import FOLDS


def plant(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def rows(found: Collection) -> list[tuple[str, str, bool, str, str]]:
    def row(sample: Sample) -> tuple[str, str, bool, str, str]:
        return sample.path, sample.source, sample.synthetic, sample.split, sample.category

    return [row(sample) for sample in found.samples]


# -- Treasure ----------------------------------------------------------------------------------------------------------


def test_treasure_names_naturals_by_what_fleet_draws_them_from(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "Treasure",
        "fake/FLUX.2/a.bmp",
        "fake/FLUX.2/b.webp",
        "fake/train/c.PNG",
        "real/1.jpg",
        "real/coco/val/2.webp",
        "real/coco/CC12M_3.jpg",
    )

    found = collect([root])

    assert found.layouts[0].name == "treasure"
    assert rows(found) == [
        ("fake/FLUX.2/a.bmp", "FLUX.2", True, "", ""),
        ("fake/train/c.PNG", "train", True, "", ""),
        ("real/1.jpg", "real", False, "", ""),
        ("real/coco/CC12M_3.jpg", "cc12m", False, "", ""),
        ("real/coco/val/2.webp", "coco", False, "", ""),
    ]
    assert found.left_out() == {".webp: an image that Fleet's own code does not read": 1}


def test_class_folders_of_another_name_are_not_taken_for_treasure(tmp_path: Path) -> None:
    assert collect([plant(tmp_path / "mine", "fake/sd/a.png", "real/cam/b.png")]).layouts[0].name == "folder"


@pytest.mark.parametrize("path", ["fake/a.png", "fake/sd/deep/a.png", "other/a.png", "a.png"])
def test_treasure_refuses_an_image_outside_its_tree(tmp_path: Path, path: str) -> None:
    root = plant(tmp_path, path, "real/b.png")

    with pytest.raises(InputError, match=rf"'{path}' lies neither in fake/GENERATOR/ nor below real/; move it there"):
        collect([root], layout="treasure")


# -- OmniFake ----------------------------------------------------------------------------------------------------------


def test_omnifake_has_three_folds_of_fifteen_generators() -> None:
    assert [list(FOLDS.values()).count(fold) for fold in ("part1", "part2", "part3")] == [15, 15, 15]
    assert len(FOLDS) == 45


def test_omnifake_tells_split_and_fold_of_every_class(tmp_path: Path) -> None:
    root = plant(
        tmp_path, "train/ADM/a.jpg", "train/real/b.jpg", "val/SDXL/c.tif", "val/DiT_XL/d.png", "val/real/e.jpg"
    )

    found = collect([root])

    assert found.layouts[0].name == "omnifake"
    assert rows(found) == [
        ("train/ADM/a.jpg", "ADM", True, "train", "part2"),
        ("train/real/b.jpg", "real", False, "train", "real"),
        ("val/DiT_XL/d.png", "DiT_XL", True, "val", "part3"),
        ("val/SDXL/c.tif", "SDXL", True, "val", "part1"),
        ("val/real/e.jpg", "real", False, "val", "real"),
    ]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("val/SD_XL/a.png", "'SD_XL' is neither 'real' nor one of the 45 .*; did you mean 'SDXL'. Rename it"),
        ("val/holiday/a.png", "'holiday' is neither 'real' nor one of the 45 .* lists. Rename it"),
        ("val/ADM/deep/a.png", r"does not lie in \{train,val\}/CLASS/; name the folder that holds train and val"),
        ("OmniFake/val/ADM/a.png", r"does not lie in \{train,val\}/CLASS/"),
    ],
)
def test_omnifake_refuses_what_it_cannot_place(tmp_path: Path, path: str, told: str) -> None:
    root = plant(tmp_path, path, "val/real/b.png")

    with pytest.raises(InputError, match=told):
        collect([root], layout="omnifake")


# -- GenImage as FSD divides it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("above", ["", "test/"])
def test_fsd_is_read_flat_and_with_the_folder_of_imagefolder(tmp_path: Path, above: str) -> None:
    paths = (
        "ADM/train/0_adm_0.PNG",
        "ADM/val/ai/1.png",
        "SD/val/ai/2.png",
        "real/train/3.JPEG",
        "real/val/nature/4.JPEG",
    )
    root = plant(tmp_path, *(above + path for path in paths))

    found = collect([root], layout="genimage-fsd")

    assert rows(found) == [
        (f"{above}ADM/train/0_adm_0.PNG", "ADM", True, "train", "ADM"),
        (f"{above}ADM/val/ai/1.png", "ADM", True, "test", "ADM"),
        (f"{above}SD/val/ai/2.png", "SD", True, "test", "SD"),
        (f"{above}real/train/3.JPEG", "real", False, "train", "real"),
        (f"{above}real/val/nature/4.JPEG", "real", False, "test", "real"),
    ]


def test_the_pool_of_naturals_tells_fsd_from_genimage(tmp_path: Path) -> None:
    fsd = plant(tmp_path / "fsd", "ADM/val/ai/1.png", "real/val/nature/2.png")
    genimage = plant(tmp_path / "genimage", "ADM/val/ai/1.png", "ADM/val/nature/2.png")

    assert [collect([root]).layouts[0].name for root in (fsd, genimage)] == ["genimage-fsd", "genimage"]


def test_genimage_as_it_unpacks_becomes_six_classes_and_one_pool(tmp_path: Path) -> None:
    root = plant(
        tmp_path,
        "ADM/imagenet_ai_0508_adm/val/ai/1.PNG",
        "ADM/imagenet_ai_0508_adm/val/nature/2.JPEG",
        "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/train/ai/3.png",
        "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5/val/nature/4.JPEG",
        "test/sdv4_imagenet/nature/5.JPEG",
        "test/wukong_imagenet/ai/6.png",
        "wukong/val/nature/7.JPEG",
    )

    found = collect([root], layout="genimage-fsd")

    assert rows(found) == [
        ("ADM/imagenet_ai_0508_adm/val/ai/1.PNG", "ADM", True, "test", "ADM"),
        ("stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/train/ai/3.png", "SD", True, "train", "stable_diffusion_v_1_4"),
        (
            "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5/val/nature/4.JPEG",
            "real",
            False,
            "test",
            "stable_diffusion_v_1_5",
        ),
        ("test/sdv4_imagenet/nature/5.JPEG", "real", False, "test", "sdv4"),
        ("test/wukong_imagenet/ai/6.png", "SD", True, "test", "wukong"),
    ]
    assert found.left_out() == {
        "a natural image of ADM: FSD takes those of SD v1.4 and v1.5": 1,
        "a natural image of wukong: FSD takes those of SD v1.4 and v1.5": 1,
    }


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("real/val/ai/1.png", "lies in the pool of natural images and below a folder 'ai'; move it to its class"),
        (
            "DALLE/val/ai/1.png",
            "lies neither in CLASS/.* with a class of ADM, BigGAN, glide, Midjourney, SD, VQDM, real",
        ),
        ("ADM/1.png", "lies neither in CLASS"),
        ("ADM/val/deep/er/1.png", "lies neither in CLASS"),
        ("wukong/val/1.png", "lies neither in CLASS"),  # GenImage's folders hold both classes
        ("1.png", "lies neither in CLASS"),
    ],
)
def test_fsd_refuses_what_it_cannot_place(tmp_path: Path, path: str, told: str) -> None:
    root = plant(tmp_path, path, "real/val/b.png", "SD/val/c.png")

    with pytest.raises(InputError, match=told):
        collect([root], layout="genimage-fsd")


# -- AIGenImages2026 ---------------------------------------------------------------------------------------------------

MADE = (
    "train/1_fake/image_midjourneyv7_3.png",
    "train/1_fake/fal-ai_flux-2-pro_12.jpg",
    "val/1_fake/Firefly_a cat 1.jpg",
)


def test_aigenimages_takes_the_generator_from_the_files_name(tmp_path: Path) -> None:
    root = plant(tmp_path / "AIGenImages2026", *MADE, "val/1_fake/hidream/x.png", "val/0_real/y.jpg")

    found = collect([root])

    assert found.layouts[0].name == "aigenimages2026"
    assert [row[1:4] for row in rows(found)] == [
        ("fal-ai_flux-2-pro", True, "train"),
        ("Midjourney v7", True, "train"),
        ("real", False, "val"),
        ("Adobe Firefly Image 5", True, "val"),
        ("hidream", True, "val"),
    ]


def test_aigenimages_keeps_images_of_one_caption_in_one_group(tmp_path: Path) -> None:
    root = plant(tmp_path / "AIGenImages2026", *MADE)
    lines = ("filename,caption,caption_id", '"image_midjourneyv7_3.png","a, b",7', "x/fal-ai_flux-2-pro_12.jpg,c,7")
    (root / "fake_metadata.csv").write_text("\n".join(lines))

    assert [sample.group for sample in collect([root], one_class=True).samples] == ["caption 7", "caption 7", ""]


def test_aigenimages_alone_wants_natural_images(tmp_path: Path) -> None:
    root = plant(tmp_path / "AIGenImages2026", *MADE)

    with pytest.raises(InputError, match=r"are synthetic .*--one-class"):
        collect([root])


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("train/1_fake/c0ffee.png", "does not tell its generator .* move the images of each generator into 1_fake/"),
        ("train/1_fake/123.png", "does not tell its generator"),
        (
            "mnt/AIGenImages2026/train/1_fake/image_midjourneyv7_1.png",
            "name the folder AIGenImages2026 that holds train",
        ),
        ("train/image_midjourneyv7_1.png", "does not lie in"),
    ],
)
def test_aigenimages_refuses_what_it_cannot_place(tmp_path: Path, path: str, told: str) -> None:
    root = plant(tmp_path, path)

    with pytest.raises(InputError, match=told):
        collect([root], layout="aigenimages2026", one_class=True)


def test_aigenimages_refuses_captions_without_their_columns(tmp_path: Path) -> None:
    root = plant(tmp_path, *MADE)
    (root / "fake_metadata.csv").write_text("name,text\nx,y\n")

    with pytest.raises(InputError, match="has no column filename, caption_id, only name, text; put the release's own"):
        collect([root], layout="aigenimages2026", one_class=True)
