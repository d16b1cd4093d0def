"""From labelled images with features to a detector: choose inside the support, fit, certify; no files, no networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import get_args

import numpy as np

from fewshot.core.arrays import Float64Array, IntArray
from fewshot.core.control_characters import escape_control
from fewshot.core.errors import InputError, OptionError, unknown_name
from fewshot.core.provenance import stack_versions
from fewshot.detector.choice import Combine, choose
from fewshot.detector.choosable import Choosable
from fewshot.detector.consistency import counts_of
from fewshot.detector.description import FORMAT, Description, HeldOut
from fewshot.detector.detector import Detector
from fewshot.detector.fitted_member import FittedMember
from fewshot.detector.known_images import KnownImages, known_scores
from fewshot.detector.scores import combined, member_scores
from fewshot.detector.thresholds import alarm_threshold, clear_threshold
from fewshot.detector.venn_abers import VennAbers
from fewshot.stats.intervals import delong_interval
from fewshot.stats.metrics import Ranked


@dataclass(frozen=True)
class FitSettings:
    """What is wanted of a fit, beside images and networks.

    Args:
        combine: of several backbones, ``choose`` the best inside the support, take the ``mean`` of their scores, or
            ``fuse`` all in one machine, weighed inside the support.
        max_false_alarms: share of natural traffic that may be flagged; max_misses: of synthetic traffic like the
            held-out one that may be cleared.
        accept_weaker: the best share of false alarms that can be certified does.
        unknown_rate: share of images like the known ones that may be called unknown.
        seed: of all draws.
    """

    combine: Combine = "choose"
    max_false_alarms: float = 0.05
    max_misses: float = 0.1
    accept_weaker: bool = False
    unknown_rate: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_false_alarms", "max_misses", "unknown_rate"):
            if not 0 < (share := getattr(self, name)) < 1:
                option = f"--{name.replace('_', '-')}"
                raise OptionError(
                    f"{option}: a share of {share:g} promises nothing; give one above 0 and below 100 %, for example 5%"
                )
        if self.combine not in get_args(Combine):
            raise unknown_name("way to combine backbones", str(self.combine), get_args(Combine))
        if self.seed < 0:
            raise OptionError(f"--seed: {self.seed} seeds nothing; give 0 or more")


def fit_detector(
    images: KnownImages,
    choosable: Sequence[Choosable],
    settings: FitSettings,
    *,
    name: str,
    parent: str = "",
    thumbnails: Mapping[int, bytes] | None = None,
    notes: Sequence[str] = (),
) -> Detector:
    """Return a detector that stands on some images.

    The head is fitted on the support alone; layer, head and backbone are chosen inside it. Calibration and held-out
    images only set thresholds. Images of the same pixels count once within a role.

    Args:
        images: in the roles support, calibration (naturals), held-out (synthetic) and known.
        choosable: what may be fitted, in the order of preference.
        name: what it is called; parent: SHA-256 of the detector that it succeeds.
        thumbnails: image number -> JPEG.
        notes: what its user must know.

    Raises:
        InputError: a class is missing in the support, an image is given as natural and as synthetic, or one of the
            support is among those that certify.
        EpisodeError: a class has one image only.
        OptionError: too few naturals for the share of false alarms, or a head that cannot be fused.
    """
    _require_one_class_each(images)
    kept = _once(images)
    small = thumbnails or {}
    pictures = {at: small[number] for at, number in enumerate(kept.tolist()) if number in small}
    notes = [*notes, *_repeated(len(images) - len(kept))]
    images = _shown(images.take(kept))
    _require_apart(images)
    support = images.take(images.rows("support"))
    _require_classes(support)
    chosen = choose(support, choosable, combine=settings.combine)
    found, left_out = chosen.members, chosen.left_out
    calibration = _scores(found, images, images.rows("calibration", synthetic=False))
    held_out = _scores(found, images, images.rows("held-out", synthetic=True))
    return Detector(
        description=Description(
            format=FORMAT,
            version=2 if chosen.dropped else 1,
            name=escape_control(name),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            parent=parent,
            members=tuple(each.member for each in found),
            candidates=chosen.candidates,
            support=counts_of(images, "support"),
            calibration=counts_of(images, "calibration"),
            held_out_synthetic=counts_of(images, "held-out"),
            alarm=alarm_threshold(
                calibration,
                left_out[~support.synthetic],
                share=settings.max_false_alarms,
                accept_weaker=settings.accept_weaker,
            ),
            clear=clear_threshold(held_out, left_out[support.synthetic], share=settings.max_misses),
            held_out=_told_apart(calibration, held_out, left_out, support),
            unknown_rate=settings.unknown_rate,
            notes=(*notes, *chosen.notes, *_doubted_labels(calibration, left_out, support)),
            versions=stack_versions(),
            seed=settings.seed,
            fusion=chosen.fusion,
        ),
        heads=tuple(each.head for each in found),
        images=images,
        support_scores=left_out,
        calibration_scores=calibration,
        held_out_scores=held_out,
        probability=VennAbers.fit(left_out, support.synthetic),
        known=known_scores(images, found[0].key, seed=settings.seed),
        thumbnails=pictures,
        dropped=chosen.dropped,
    )


def _once(images: KnownImages) -> IntArray:
    """Return the rows whose pixels no earlier row of the same role has, without known images that have another role."""
    seen: set[tuple[str, str]] = set()
    kept = []
    elsewhere = {str(image) for image, role in zip(images.ids, images.roles, strict=True) if role != "known"}
    for row, (image, role) in enumerate(zip(images.ids, images.roles, strict=True)):
        if (image, role) in seen or (role == "known" and image in elsewhere):
            continue
        seen.add((image, role))
        kept.append(row)
    return np.array(kept, dtype=np.int64)


def _shown(images: KnownImages) -> KnownImages:
    """Return the images under names that any terminal, page and JSON text can show; files may have other ones."""
    keys, sources = (
        np.array([escape_control(text) for text in column], dtype=object) for column in (images.keys, images.sources)
    )
    return replace(images, keys=keys, sources=sources)


def _repeated(count: int) -> list[str]:
    if not count:
        return []
    what = "1 image was" if count == 1 else f"{count} images were"
    return [f"{what} given again with the same pixels and counted once"]


def _doubted_labels(calibration: Float64Array, left_out: Float64Array, support: KnownImages) -> list[str]:
    """Return a note where most naturals that certify score like the synthetic images of the support."""
    natural, synthetic = (float(np.median(left_out[support.synthetic == side])) for side in (False, True))
    if len(calibration) == 0 or synthetic <= natural:
        return []
    like_synthetic = int(np.count_nonzero(calibration > (natural + synthetic) / 2))
    if 2 * like_synthetic <= len(calibration):
        return []
    return [
        f"{like_synthetic} of {len(calibration)} naturals that set the threshold score like synthetic images of the "
        f"support: are its labels the wrong way round, or are these naturals of another kind?"
    ]


def _require_one_class_each(images: KnownImages) -> None:
    """Refuse the same pixels given as natural and as synthetic: one of the two is wrong, and which is not for us."""
    first: dict[str, int] = {}
    for row, image in enumerate(images.ids):
        before = first.setdefault(str(image), row)
        if images.synthetic[before] != images.synthetic[row]:
            natural, synthetic = (before, row) if images.synthetic[row] else (row, before)
            raise InputError(
                f"{images.keys[natural]!r} is given as natural and {images.keys[synthetic]!r} as synthetic, and both "
                f"have the same pixels; leave out the one whose class is wrong"
            )


def _require_apart(images: KnownImages) -> None:
    """Refuse images that take part in fitting and in certifying; they would promise too much."""
    support = {str(images.ids[row]): str(images.keys[row]) for row in images.rows("support")}
    for role, option in (("calibration", "--naturals"), ("held-out", "--synthetics")):
        rows = images.rows(role)  # type: ignore[arg-type]  # roles, as written above
        shared = [row for row in rows.tolist() if str(images.ids[row]) in support]
        if shared:
            first = shared[0]
            raise InputError(
                f"{len(shared)} of {len(rows)} images of {option} are in the support as well (the first: "
                f"{images.keys[first]!r} has the pixels of {support[str(images.ids[first])]!r}); what is fitted on "
                f"cannot certify: leave them out of one of the two"
            )


def _require_classes(support: KnownImages) -> None:
    synthetic = int(support.synthetic.sum())
    if not len(support) or synthetic in (0, len(support)):
        lacking = "synthetic" if synthetic == 0 else "natural"
        raise InputError(
            f"the support has {len(support)} images and no {lacking} one; give images of both classes, ten of each are "
            f"usual"
        )


def _scores(found: Sequence[FittedMember], images: KnownImages, rows: IntArray) -> Float64Array:
    if not len(rows):
        return np.empty(0)
    part = images.take(rows)
    own = {each.member.name: member_scores(each.member, each.head, part.features) for each in found}
    return combined([each.member for each in found], own)


def _told_apart(
    calibration: Float64Array, held_out: Float64Array, left_out: Float64Array, support: KnownImages
) -> HeldOut:
    """Return the AUROC on images that took no part where both classes were held out, else inside the support.

    Args:
        calibration: (c,) scores of naturals; held_out: (h,) of synthetic images; left_out: (n,) of the support.
    """
    apart = len(calibration) and len(held_out)
    natural, synthetic = (
        (calibration, held_out) if apart else (left_out[~support.synthetic], left_out[support.synthetic])
    )
    labels = np.repeat([False, True], [len(natural), len(synthetic)])
    auroc = Ranked.of(np.concatenate([natural, synthetic]), labels).auroc()
    interval = delong_interval(natural, synthetic)
    low, high = (None if np.isnan(bound) else float(bound) for bound in (interval.low, interval.high))
    return HeldOut("held-out" if apart else "support", auroc, low, high, len(natural), len(synthetic))
