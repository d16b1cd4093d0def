"""``fit --from``: a successor of a detector with more labelled images, beside its parent on a frozen check set."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fewshot.core.errors import OptionError
from fewshot.core.outputs import DETECTOR, Output, require_outputs
from fewshot.detector import summary
from fewshot.detector.additions import Added, Opened, joined, open_labelled, require_unseen
from fewshot.detector.choosable import Choosable
from fewshot.detector.comparison import Comparison, compare
from fewshot.detector.description import Description
from fewshot.detector.detector import Detector
from fewshot.detector.fit import working_folder
from fewshot.detector.fitting import FitSettings, fit_detector
from fewshot.detector.fitting_inputs import Given, embedding_like
from fewshot.detector.fusing import require_fusible
from fewshot.detector.known_images import KnownImages, Role
from fewshot.detector.thumbnails import thumbnails_of
from fewshot.heads.base import Head
from fewshot.heads.transductive import inductive_head

GUIDED = (
    "the calibration naturals are its parent's; they took no part in fitting, but the threshold that they set may have "
    "guided which images were labelled: new --naturals certify afresh"
)


@dataclass(frozen=True)
class Refit:
    """A successor, what was added to it, and how it compares with its parent where that was checked."""

    detector: Detector
    added: Added
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the new detector's summary with what was added and the comparison, as JSON values."""
        check = None if self.comparison is None else self.comparison.to_json()
        return {**summary.to_json(self.detector), "added": self.added.to_json(), "check": check}

    def lines(self) -> list[str]:
        """Return the same in lines."""
        check = [] if self.comparison is None else self.comparison.lines()
        return [*summary.lines(self.detector), *self.added.lines(), *check]


def refit(  # noqa: PLR0913  # every option of the command, each with its default
    parent: Detector | Path | str,
    *,
    add: Given | None = None,
    check: Given | None = None,
    naturals: Given | None = None,
    synthetics: Given | None = None,
    sources: Given | None = None,
    out: Path | str | None = None,
    heads: str | Sequence[str] = (),
    weights: Sequence[str] = (),
    device: str = "auto",
    thumbnails: bool = False,
    name: str | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Refit:
    """Fit a successor of a detector, whose file stays as it is: rolling back is using the old one.

    The old support takes part with the features that the file holds; only images that are new are embedded, on the
    recorded path. Layer, head and backbone stay, and thresholds are set anew for the new head.

    Args:
        parent: a detector or its file.
        add: labelled images for the support: a table (rows without a label are left out), class folders, or a store.
            An image that the support has with the other label is corrected.
        check: labelled images that neither detector has seen, on which both are compared.
        naturals, synthetics: what certifies from now on, instead of the parent's images, which stay as known ones.
        sources: further known images.
        out: the file to write; None writes none.
        heads: names, of which one is chosen inside the support; the parent's with its parameters when empty.
        weights: ``NAME=PATH`` requests; device: where networks run.
        thumbnails: keep small pictures of the new images; those of the parent stay.
        name: what it is called; the file's name when None.
        settings: fields of ``FitSettings``; the parent's when they are not given.

    Raises:
        InputError: an added image certifies the parent, has two labels, or a check image was seen already.
        OptionError: nothing is to change, or too few naturals for the share.
        FewshotError: as ``fit``.
    """
    old = parent if isinstance(parent, Detector) else Detector.load(parent)
    names = (heads,) if isinstance(heads, str) else tuple(heads)
    given: dict[Role, Given | None] = {"calibration": naturals, "held-out": synthetics, "known": sources}
    _require_change(add, given.values(), names, settings)
    target = None if out is None else Path(out).expanduser()
    read = [old.path, *(each for each in (add, check, *given.values()) if isinstance(each, str | Path))]
    require_outputs([Output(target, DETECTOR)], inputs=read)
    choosable = _choosable(old, names)
    with working_folder(target) as folder:
        embedding = embedding_like(old.layers, folder, weights=weights, device=device, quiet=quiet)
        added = None if add is None else open_labelled(add, embedding, "support")
        further = [open_labelled(each, embedding, role) for role, each in given.items() if each is not None]
        checked = None if check is None else open_labelled(check, embedding, "known")
        images, what = joined(old.images, added, further)
        require_unseen(images, checked)
        new = fit_detector(
            images,
            choosable,
            _settings(old.description, settings),
            name=name or (target.stem if target else old.name),
            parent=old.digest,
            thumbnails={**old.thumbnails, **(_pictures(old, images, added, further) if thumbnails else {})},
            notes=_notes(old, what, certified_anew=naturals is not None),
        )
        comparison = None if checked is None else compare(old, new, checked.images)
        return Refit(new if target is None else new.save(target), what, comparison)


def _require_change(add: Given | None, given: Iterable[Given | None], heads: Sequence[str], settings: Any) -> None:
    if add is None and not heads and not settings and all(each is None for each in given):
        raise OptionError(
            "--from: nothing is to change; give labelled images by --add, other --naturals or --synthetics, or --head"
        )


def _settings(described: Description, given: Mapping[str, Any]) -> FitSettings:
    """Return the settings of the parent, as far as others are not given."""
    alarm, clear, usual = described.alarm, described.clear, FitSettings()
    before = FitSettings(
        combine="fuse" if described.fusion is not None else "mean" if len(described.members) > 1 else "choose",
        max_false_alarms=alarm.wanted or alarm.share or usual.max_false_alarms,
        max_misses=clear.wanted or clear.share or usual.max_misses,
        accept_weaker=alarm.wanted is not None,
        unknown_rate=described.unknown_rate,
        seed=described.seed,
    )
    return replace(before, **given)


def _choosable(old: Detector, names: Sequence[str]) -> list[Choosable]:
    """Return the parent's layers, each with its head, or with the heads that were named."""
    infos = {(info.backbone, info.layer, info.view): info for info in old.layers}
    found = []
    for member, own in zip(old.description.members, old.heads, strict=True):
        heads: list[Head] = [inductive_head(name) for name in names] or [own.unfitted()]
        if old.description.fusion is not None:
            require_fusible(heads)
        for head in heads:
            if lacking := set(head.views) - set(member.views):
                raise OptionError(
                    f"--head {head.name} looks at {', '.join(sorted(lacking))}, and the detector {old.name!r} holds "
                    f"features of {', '.join(member.views)} only; fit one from images with it"
                )
            info = infos[member.backbone, member.layer, head.views[0]]
            found.append(Choosable(info, head, licence=member.licence))
    return found


def _pictures(old: Detector, images: KnownImages, added: Opened | None, further: Sequence[Opened]) -> dict[int, bytes]:
    """Return pictures of the images that are new, by their number among all."""
    parts = [*([added] if added else []), *further]
    where = {str(image): file for each in parts for image, file in zip(each.images.ids, each.files, strict=True)}
    files = [where.get(str(image)) if row >= len(old.images) else None for row, image in enumerate(images.ids)]
    return thumbnails_of(files)


def _notes(old: Detector, what: Added, *, certified_anew: bool) -> list[str]:
    """Return what a user of the successor must know, that of the parent included."""
    kept = [note for note in old.description.notes if not (certified_anew and note == GUIDED)]
    guided = old.description.alarm.kind == "certificate" and not certified_anew
    parts = [f"{what.new.natural} natural and {what.new.synthetic} synthetic images added"]
    parts += [f"{len(what.relabelled)} labels corrected"] * bool(what.relabelled)
    return list(dict.fromkeys([*kept, f"refitted from {old.name!r}: {', '.join(parts)}", *([GUIDED] * guided)]))
