"""The demo's detector: fitted on ten tiles per class, certified on other photographs, tried on a third part of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot.demo.images import NATURAL
from fewshot.detector.detector import Detector
from fewshot.detector.fit import fit
from fewshot.detector.fitting_inputs import chosen_rows
from fewshot.detector.verdict import NATURAL as SAID_NATURAL
from fewshot.detector.verdict import SYNTHETIC, UNSURE
from fewshot.embeddings.store.reader import FeatureStore

GENERATOR = "transposed-convolution"  # the new generator of the story
BACKBONE, HEAD = "spectrum", "lda"
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
        backbones=BACKBONE,
        heads=HEAD,
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
