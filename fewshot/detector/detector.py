"""``Detector``: what was fitted, as one file; features in, judgements out."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.errors import InputError
from fewshot.detector import archive, content
from fewshot.detector.content import Content
from fewshot.detector.description import Member
from fewshot.detector.judgement import Judged, Judgement
from fewshot.detector.known_images import FeatureKey, NearestImages
from fewshot.detector.scores import combined, counted, member_scores
from fewshot.detector.verdict import UNSURE, verdicts
from fewshot.embeddings.store.layer_info import LayerInfo

_ROUNDING = 1e-6  # of the scores' spread: float32 features of one image in batches of other sizes
BETWEEN = "the score lies between the two thresholds"


@dataclass(frozen=True, eq=False)
class Detector(Content):
    """Heads on frozen features with thresholds, what they promise, and the images that they stand on.

    Args:
        digest: SHA-256 of the file; path: where it lies; both empty before it is saved. The others are those of
            ``Content``, which is what its file holds.
    """

    digest: str = ""
    path: Path | None = None

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Return the detector of a file.

        Raises:
            InputError: there is no such file.
            WeightsError: it is no detector, damaged, cut short, forged, or of a later version.
        """
        where = Path(path).expanduser()
        return cls.from_bytes(archive.read(where), where=str(where), path=where)

    @classmethod
    def from_bytes(cls, encoded: bytes, *, where: str, path: Path | None = None) -> Self:
        """Return the detector whose file has these bytes; errors as ``load``."""
        found = content.decode(archive.unpack(encoded, where=where), where=where)
        return cls(**vars(found), digest=hashlib.sha256(encoded).hexdigest(), path=path)

    def to_bytes(self) -> bytes:
        """Return the bytes of the detector's file."""
        return archive.pack(content.encode(self), version=self.description.version)

    def save(self, path: Path | str) -> Self:
        """Write the file, whole or not at all; return the detector that now has a digest and a path.

        Raises:
            OutputError: it cannot be written, or what is there is no detector.
        """
        target = Path(path).expanduser()
        encoded = self.to_bytes()
        archive.write(encoded, target)
        return replace(self, digest=hashlib.sha256(encoded).hexdigest(), path=target)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.description.name

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The layers and views that it looks at, as a store would describe them."""
        return tuple(_layer(member, view) for member in self.description.members for view in member.views)

    # -- scores ----------------------------------------------------------------------------------------------------

    def score(self, features: Mapping[FeatureKey, FloatArray]) -> tuple[Float64Array, dict[str, Float64Array]]:
        """Return (M,) scores, and those of each member by its name, as its head gives them.

        Args:
            features: backbone, layer, view -> (M, D), as stored, of every layer and view.
        """
        own = {
            member.name: member_scores(member, head, features)
            for member, head in zip(self.description.members, self.heads, strict=True)
        }
        return combined(self.description.members, own), own

    def judge(self, features: Mapping[FeatureKey, FloatArray], ids: Sequence[str]) -> list[Judgement]:
        """Return a judgement of each image.

        Args:
            features: as for ``score``.
            ids: (M,) hashes of the images' pixels, so that an image is not its own evidence.
        """
        scores, own = self.score(features)
        own = counted(self.description.members, own)
        low, high = self.probability.interval(scores)
        said = self.verdicts(scores)
        near = self.nearest.look_up(features[self.nearest.key], ids)
        return [
            Judgement(
                verdict=said[number],
                score=float(scores[number]),
                probability=(float(low[number]), float(high[number])),
                members={name: float(values[number]) for name, values in own.items()},
                sources=found.sources,
                neighbours=found.neighbours,
                unknown=found.unknown,
                p_value=float(found.p_value),  # type: ignore[arg-type]  # there is one, for the known ones are at hand
                reason=BETWEEN if said[number] == UNSURE else "",
                weights=self.description.weights,
            )
            for number, found in enumerate(near)
        ]

    def verdicts(self, scores: FloatArray) -> list[Any]:
        """Return the verdict of each score by the detector's two thresholds.

        A score counts as beyond a threshold only when it differs by more than an image's score does from one batch to
        another: the image that the threshold was taken from, and every copy of it, is not beyond.
        """
        rounding = _ROUNDING * self.description.spread
        found: list[Any] = verdicts(
            scores, alarm=self.description.alarm.value + rounding, clear=self.description.clear.value - rounding
        ).tolist()
        return found

    @cached_property
    def nearest(self) -> NearestImages:
        """The known images, ready to be searched by the first member's layer."""
        first = self.description.members[0]
        key = (first.backbone, first.layer, first.views[0])
        return NearestImages(self.images, key, self.known, self.description.unknown_rate)

    def predict(self, images: Any, **options: Any) -> Any:
        """Return what is said of an image, or of each of several.

        Args:
            images: the path of an image or a decoded PIL image, or a list of them.
            options: those of ``Scorer``: ``weights``, ``device``, ``workers``.

        Returns:
            A ``Judgement`` of one image; a list of ``Judged`` of several, in order, failures among them.

        Raises:
            InputError: the only image cannot be read.
            WeightsError, StoreError: the weights are not here, or are not those that it was fitted with.
        """
        from fewshot.detector.scorer import Scorer  # torch

        several = isinstance(images, Iterable) and not isinstance(images, str)
        with Scorer(self, **options) as scorer:
            found: list[Judged] = scorer.images(list(images) if several else [images])
        if several:
            return found
        (only,) = found
        if only.judgement is None:
            raise InputError(f"{only.image} cannot be judged: {only.failure}")
        return only.judgement


def _layer(member: Member, view: str) -> LayerInfo:
    return LayerInfo(
        backbone=member.backbone,
        layer=member.layer,
        view=view,
        dimension=member.dimension,
        dtype=member.dtype,
        digest="",
        normalised=member.normalised,
        default=True,
        provenance=member.provenance,
    )
