"""``Detector``: what was fitted, as one file; features in, judgements out."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.errors import InputError
from fewshot.detector import archive, content
from fewshot.detector.description import Description, Member
from fewshot.detector.judgement import Judged, Judgement
from fewshot.detector.known_images import FeatureKey, KnownImages, NearestImages
from fewshot.detector.venn_abers import VennAbers
from fewshot.detector.verdict import UNSURE, verdicts
from fewshot.embeddings.search.openset import KnownScores
from fewshot.embeddings.store.layer_info import LayerInfo
from fewshot.heads.base import Head

_ROUNDING = 1e-6  # of the scores' spread: float32 features of one image in batches of other sizes
BETWEEN = "the score lies between the two thresholds"


@dataclass(frozen=True, eq=False)
class Detector:
    """Heads on frozen features with thresholds, what they promise, and the images that they stand on.

    Args:
        description: everything but arrays.
        heads: fitted, one for each member.
        images: support, calibration, held-out and further known images, with their features.
        support_scores: (n,) cross-validated scores of the support, in the order of the images.
        calibration_scores: (c,) scores of the calibration naturals; held_out_scores: (h,) of held-out synthetic images.
        probability: from a score to an interval.
        known: how near the images lie to each other.
        thumbnails: image number -> JPEG, of some images.
        digest: SHA-256 of the file; path: where it lies; both empty before it is saved.
    """

    description: Description
    heads: tuple[Head, ...]
    images: KnownImages
    support_scores: Float64Array
    calibration_scores: Float64Array
    held_out_scores: Float64Array
    probability: VennAbers
    known: KnownScores
    thumbnails: Mapping[int, bytes] = field(default_factory=dict, repr=False)
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
        parts = content.decode(archive.unpack(encoded, where=where), where=where)
        return cls(**vars(parts), digest=hashlib.sha256(encoded).hexdigest(), path=path)

    def to_bytes(self) -> bytes:
        """Return the bytes of the detector's file."""
        names = content.Parts.__dataclass_fields__
        return archive.pack(content.encode(content.Parts(**{name: getattr(self, name) for name in names})))

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
        found = self.nearest.look_up(features[self.nearest.key], ids)
        return [
            Judgement(
                verdict=said[number],
                score=float(scores[number]),
                probability=(float(low[number]), float(high[number])),
                members={name: float(values[number]) for name, values in own.items()},
                sources=sources,
                neighbours=near,
                unknown=unknown,
                p_value=p_value,
                reason=BETWEEN if said[number] == UNSURE else "",
            )
            for number, (sources, near, p_value, unknown) in enumerate(found)
        ]

    def verdicts(self, scores: FloatArray) -> list[Any]:
        """Return the verdict of each score by the detector's two thresholds.

        A score counts as beyond a threshold only when it differs by more than an image's score does from one batch to
        another: the image that the threshold was taken from, and every copy of it, is not beyond.
        """
        members = self.description.members
        rounding = _ROUNDING * (members[0].scale if len(members) == 1 else 1.0)
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


def member_scores(member: Member, head: Head, features: Mapping[FeatureKey, FloatArray]) -> Float64Array:
    """Return (M,) scores of one member's head."""
    keys = {view: (member.backbone, member.layer, view) for view in member.views}
    seen = {view: features[key].astype(np.float32, copy=False) for view, key in keys.items()}
    prepared = head.prepare(seen, normalised=member.normalised, what=f"layer {member.layer!r} of {member.backbone!r}")
    return np.asarray(head.decision_function(prepared), dtype=np.float64)


def combined(members: Sequence[Member], own: Mapping[str, Float64Array]) -> Float64Array:
    """Return the detector's scores: those of its only member, else the mean of centred and scaled ones."""
    return np.asarray(np.mean(list(counted(members, own).values()), axis=0))


def counted(members: Sequence[Member], own: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
    """Return members' scores as they count: that of an only member as it is, else each centred and scaled."""
    if len(members) == 1:
        return dict(own)
    return {member.name: (own[member.name] - member.centre) / member.scale for member in members}


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
