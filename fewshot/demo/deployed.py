"""The demo's detector: fitted on ten tiles per class, certified on other photographs, tried on a third part of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot.demo.images import NATURAL
from fewshot.detector.detector import Detector
from fewshot.detector.fit import fit
from fewshot.detector.fitting_inputs import chosen_rows
from fewshot.detector.thresholds import promise
from fewshot.detector.verdict import NATURAL as SAID_NATURAL
from fewshot.detector.verdict import SYNTHETIC, UNSURE
from fewshot.embeddings.store.reader import FeatureStore

GENERATOR = "transposed-convolution"  # the new generator of the story
FILE = "demo.detector"
_SHOTS = 10
_VERDICTS = (SYNTHETIC, UNSURE, SAID_NATURAL)


@dataclass(frozen=True)
class Deployed:
    """The detector, and how often it said what of tiles of photographs that it never saw.

    Args:
        counts: source -> how many were called synthetic, unsure, natural.
        example: the key of a tile of the generator, one that was called synthetic where there is one.
    """

    detector: Detector
    counts: dict[str, tuple[int, int, int]]
    example: str


def deployed(store: FeatureStore, path: Path, *, seed: int) -> Deployed:
    """Fit a detector of one generator, save it, and judge the tiles of other photographs.

    A third of the photographs gives the support, half of them the calibration, and the rest is judged.

    Args:
        store: the demo's; path: the file to write.
    """
    groups = sorted(set(map(str, store.column("group"))))
    support, calibration, judged = groups[::3], groups[1::6] + groups[2::6] + groups[4::6], groups[5::6]
    smallest = min(len(store.select(source=source, where={"group": support})) for source in (NATURAL, GENERATOR))
    detector = fit(
        store,
        naturals=store,
        out=path,
        where={"source": [NATURAL, GENERATOR], "group": support},
        naturals_where={"source": NATURAL, "group": calibration},
        shots=min(_SHOTS, smallest),
        accept_weaker=True,
        thumbnails=True,
        seed=seed,
        quiet=True,
    )
    return _judged(detector, store, judged)


def _judged(detector: Detector, store: FeatureStore, groups: Sequence[str]) -> Deployed:
    """Return how often each verdict was given to the tiles of each source."""
    keys = [(info.backbone, info.layer, info.view) for info in detector.layers]
    images = chosen_rows(store, keys, where={"group": groups}).images(keys, role="known")
    scores, _ = detector.score(images.features)
    verdicts = np.array(detector.verdicts(scores))
    of_source = {source: verdicts[images.sources == source] for source in images.source_counts}
    counts: dict[str, tuple[int, int, int]] = {
        source: tuple(int((said == verdict).sum()) for verdict in _VERDICTS)  # type: ignore[misc]  # three of them
        for source, said in of_source.items()
    }
    own = images.keys[images.sources == GENERATOR]
    flagged = own[of_source[GENERATOR] == SYNTHETIC]
    return Deployed(detector, counts, example=str([*flagged, *own][0]))


def about(found: Deployed) -> str:
    """Return the paragraph of the demo."""
    described = found.detector.description
    (member,) = described.members
    width = max(map(len, found.counts))
    rows = [
        f"   {source:<{width}}  {synthetic:>9}  {unsure:>6}  {natural:>7}"
        for source, (synthetic, unsure, natural) in found.counts.items()
    ]
    return (
        f"6. A detector. Fitted on {described.support.natural} natural tiles and {described.support.synthetic} of "
        f"{GENERATOR!r}, with the layer {member.name} chosen among them;\n   {promise(described.alarm)}.\n"
        f"   Verdicts on tiles of photographs that it never saw, generators that it was not fitted for among them:\n\n"
        f"   {'':<{width}}  {SYNTHETIC:>9}  {UNSURE:>6}  {SAID_NATURAL:>7}\n" + "\n".join(rows)
    )
