"""Which features: a backbone, one of its layers and a view, as stores name them; the reserved names."""

from dataclasses import dataclass

CLEAN = "clean"  # the view of an image as it was decoded
LOGIT = "logit"  # the layer that holds the score of a checkpoint's own head, larger = synthetic


@dataclass(frozen=True, order=True)
class LayerKey:
    """One layer of one backbone under one view.

    Args:
        backbone: the card's name; layer: one of its layers; view: a perturbation's name, ``clean`` for none.
    """

    backbone: str
    layer: str
    view: str = CLEAN

    @property
    def task(self) -> tuple[str, str]:
        """(backbone, view): what is computed in one forward pass, whatever the layers."""
        return (self.backbone, self.view)

    def __str__(self) -> str:
        return f"{self.backbone}/{self.layer}" + ("" if self.view == CLEAN else f"@{self.view}")
