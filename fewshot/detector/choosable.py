"""One layer with one head, among which a fit chooses or which it fuses with others; the heads by their names."""

from collections.abc import Sequence
from dataclasses import dataclass

from fewshot.core.arrays import FloatArray
from fewshot.core.errors import OptionError
from fewshot.detector.known_images import FeatureKey, KnownImages
from fewshot.detector.scores import prepared
from fewshot.embeddings.store.layer_info import LayerInfo
from fewshot.heads.base import HEADS, Head


@dataclass(frozen=True)
class Choosable:
    """One layer with one head.

    Args:
        info: the layer, in the first of the head's views.
        head: its parameters; not fitted here.
        licence: of the weights.
        fused_in: what it is fused in, for example ``npr+ferretnet``: all of one name are one machine; empty for none.
    """

    info: LayerInfo
    head: Head
    licence: str = ""
    fused_in: str = ""

    @property
    def keys(self) -> tuple[FeatureKey, ...]:
        """Backbone, layer and view of the features that the head looks at."""
        return tuple((self.info.backbone, self.info.layer, view) for view in self.head.views)

    @property
    def name(self) -> str:
        """Backbone and layer, as messages call it."""
        return f"{self.info.backbone}/{self.info.layer}"

    def prepared(self, images: KnownImages) -> FloatArray:
        """Return what the head takes of some images: (n, D')."""
        info = self.info
        return prepared(
            self.head, images.features, backbone=info.backbone, layer=info.layer, normalised=info.normalised
        )


def loaded_heads(names: Sequence[str]) -> list[Head]:
    """Return heads by their names, unfitted.

    Raises:
        UnknownNameError: there is no such head.
        OptionError: one scores images by all that come with them, so that no threshold holds for the next image.
    """
    heads: list[Head] = [HEADS.load(name)() for name in dict.fromkeys(names)]
    for head in heads:
        if head.transductive:
            raise OptionError(
                f"--head {head.name} is transductive: what it says of an image depends on the other images that it "
                f"sees, so that no threshold can be certified for the next one; give another head, for example svm, or "
                f"measure this one with `fewshot adapt --head {head.name}`"
            )
    return heads
