"""What is said of one image: verdict, score, probability, nearest sources."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fewshot.detector.verdict import Verdict
from fewshot.embeddings.search.lookup import Evidence, SourceScore


@dataclass(frozen=True)
class Judgement:
    """What a detector says of one image.

    Args:
        verdict: ``synthetic``, ``natural`` or ``unsure``.
        score: larger = more likely synthetic.
        probability: (low, high) of being synthetic, among images of which as many are synthetic as in the support.
        members: backbone/layer -> its own score; of several each centred and scaled, and the score is their mean, or
            of fused ones its part of the score, and the score is their sum.
        sources: nearest known sources, best first; neighbours: the nearest known images.
        unknown: whether the image is unlike all known ones, at the detector's rate; p_value: of "it is like them".
        reason: why the verdict is ``unsure``, empty otherwise.
        under: view -> (verdict, score) of re-encodings of the same image, where they were asked for.
        weights: backbone/layer -> weight of its kernel, of fused members; empty where none are.
    """

    verdict: Verdict
    score: float
    probability: tuple[float, float]
    members: Mapping[str, float]
    sources: tuple[SourceScore, ...]
    neighbours: tuple[Evidence, ...]
    unknown: bool
    p_value: float
    reason: str = ""
    under: Mapping[str, tuple[Verdict, float]] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the judgement as JSON values."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "score": self.score,
            "probability": list(self.probability),
            "members": dict(self.members),
            **({"weights": dict(self.weights)} if self.weights else {}),
            "unknown": self.unknown,
            "p_value": self.p_value,
            "sources": [vars(source) for source in self.sources],
            "nearest": [vars(near) for near in self.neighbours],
            "under": {view: {"verdict": verdict, "score": score} for view, (verdict, score) in self.under.items()},
        }


@dataclass(frozen=True)
class Judged:
    """One image that was given, and what became of it.

    Args:
        image: its path, key or name, as it was given.
        judgement: None where the image could not be used.
        failure: why it could not, as ``fewshot embed`` says it; empty otherwise.
        file_sha256, pixel_id: of its bytes and of its pixels, empty where it could not be read.
        provenance: content credentials and EXIF, as evidence beside the judgement and never in it; empty where they
            were not asked for.
    """

    image: str
    judgement: Judgement | None
    failure: str = ""
    file_sha256: str = ""
    pixel_id: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
