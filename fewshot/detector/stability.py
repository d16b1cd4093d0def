"""Whether a verdict survives re-encoding: what platforms do to every image must not decide."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fewshot.core.arrays import FloatArray
from fewshot.core.errors import OptionError
from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judgement
from fewshot.detector.known_images import FeatureKey
from fewshot.detector.verdict import UNSURE
from fewshot.embeddings.layer_key import CLEAN
from fewshot.embeddings.store.layer_info import LayerInfo

DEFAULT = ("jpeg:75", "jpeg:50", "resize:0.5", "webp:80", "blur:1")


def layers_under(detector: Detector, views: Sequence[str]) -> list[LayerInfo]:
    """Return the layers that a detector looks at, as images are and under re-encodings.

    Raises:
        OptionError: its heads look at several views themselves.
    """
    if views and any(info.view != CLEAN for info in detector.layers):
        raise OptionError(
            f"the detector {detector.name!r} looks at several views of an image itself, so that --stability says "
            f"nothing of it; leave it out"
        )
    again = [replace(info, view=view) for view in views if view != CLEAN for info in detector.layers]
    return [*detector.layers, *again]


def under_views(
    detector: Detector,
    judgements: Sequence[Judgement],
    features: Mapping[FeatureKey, FloatArray],
    views: Sequence[str],
) -> list[Judgement]:
    """Return the judgements with what the same images get under re-encodings; a verdict that flips becomes unsure.

    A verdict flips when a re-encoding turns ``synthetic`` into ``natural`` or the other way round; one that a
    re-encoding makes unsure is kept, and shown.

    Args:
        features: backbone, layer, view -> (M, D), of ``clean`` and of every view.
        views: which re-encodings.
    """
    under: list[dict[str, tuple[str, float]]] = [{} for _ in judgements]
    for view in views:
        seen = {key: features[key[0], key[1], view] for key in features if key[2] == CLEAN}
        scores, _ = detector.score({(backbone, layer, CLEAN): rows for (backbone, layer, _), rows in seen.items()})
        for number, verdict in enumerate(detector.verdicts(scores)):
            under[number][view] = (verdict, float(scores[number]))
    return [_settled(judgement, found) for judgement, found in zip(judgements, under, strict=True)]


def _settled(judgement: Judgement, under: Mapping[str, tuple[str, float]]) -> Judgement:
    flipped = [
        view
        for view, (verdict, _) in under.items()
        if UNSURE not in (verdict, judgement.verdict) and verdict != judgement.verdict
    ]
    if not flipped:
        return replace(judgement, under=under)  # type: ignore[arg-type]  # verdicts, as text
    reason = f"{judgement.verdict} as it is, but not under {', '.join(flipped)}"
    return replace(judgement, under=under, verdict=UNSURE, reason=reason)  # type: ignore[arg-type]
