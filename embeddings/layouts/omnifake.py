"""OmniFake, the data of OmniDFA: ``{train,val}/{real,<generator>}/*``, 45 generators in three folds of 15."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

from fewshot.core.errors import InputError, nearest_name
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.tree import children, image_files

NATURAL = "real"
SPLITS = ("train", "val")
# teheperinko541/OmniDFA @ 35b9052, datasets/split/part*/vallist.txt: the generators that are held out in each fold.
_FOLDS = {
    "part1": (
        "SDXL Playground_V_2_5 UniWorld_V_1 BLIP3_o Midjourney_V_4 CogView_4 PixArt_Alpha DALLE_2 DDIM GLIDE GPT4_o "
        "HiDream_I1_Dev BAGEL DALLE_3 Stable_Diffusion_V_1_5"
    ),
    "part2": (
        "OmniGen Lumina_Image_2_0 Show_O Stable_Diffusion_3_Medium Midjourney_V_6 GALIP LlamaGen Ideogram Infinity "
        "Muse StyleGAN_3 ADM IF GigaGAN VQDM"
    ),
    "part3": (
        "Hunyuan_DiT Imagen SANA_V_1_5 DF_GAN Janus_Pro DDPM Midjourney_V_5 OmniGen_2 FLUX_Dev BRIA_3_2 Ovis_U_1 "
        "CogView_2 VQVAE Leonardo_Phoenix DiT_XL"
    ),
}
FOLDS: Mapping[str, str] = MappingProxyType({name: fold for fold, names in _FOLDS.items() for name in names.split()})


@final
class Omnifake(Layout):
    """OmniDFA's ``{train,val}/<class>/*``: the source is the class, the category its fold (part1, part2, part3, real).

    ``--where category=part1,real`` takes the 15 generators that the first fold holds out, with the natural images.
    """

    name: ClassVar[str] = "omnifake"

    def recognises(self, root: Path) -> bool:
        """A folder ``train`` or ``val`` that holds a class of OmniFake's, and nothing else."""
        classes = [child.name for split in SPLITS for child in children(root / split)]
        return any(name in FOLDS for name in classes) and all(name in FOLDS or name == NATURAL for name in classes)

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images in sorted order; one outside the tree or in a folder of no known class is an error."""
        for path in image_files(root, ignored=self.ignored):
            parts = path.split("/")
            if len(parts) != 3 or parts[0] not in SPLITS:
                raise InputError(
                    f"{root}: {path!r} does not lie in {{train,val}}/CLASS/; name the folder that holds train and val, "
                    f"or choose another --layout"
                )
            if parts[1] != NATURAL and parts[1] not in FOLDS:
                raise InputError(f"{root}: {_unknown_class(parts[1])}")
            yield Sample(
                path,
                parts[1],
                parts[1] != NATURAL,
                split=parts[0],
                dataset="OmniFake",
                category=FOLDS.get(parts[1], NATURAL),
            )


def _unknown_class(name: str) -> str:
    near = nearest_name(name, (*FOLDS, NATURAL))
    meant = f"; did you mean {near!r}?" if near else "."
    return (
        f"the folder {name!r} is neither {NATURAL!r} nor one of the 45 generators of OmniFake's lists{meant} Rename "
        f"it, take it out, or give a table with the columns path, source, synthetic"
    )
