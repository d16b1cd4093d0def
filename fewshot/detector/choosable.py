"""One layer with one head, among which a fit chooses or which it fuses with others."""

from dataclasses import dataclass

from fewshot.core.arrays import FloatArray
from fewshot.detector.known_images import FeatureKey, KnownImages
from fewshot.detector.scores import prepared
from fewshot.embeddings.store.layer_info import LayerInfo
from fewshot.heads.base import Head


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
