"""A model card with limits of use, as Markdown: what a detector is for, stands on, promises, and does not.

The sections follow Mitchell et al., Model cards for model reporting, FAT* 2019. Names and notes come from files of
others; none of them is read as Markdown or HTML.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fewshot.core.control_characters import escape_control
from fewshot.core.outputs import FileKind
from fewshot.detector.description import Description, Member, Threshold
from fewshot.detector.detector import Detector
from fewshot.detector.summary import compared, weighed
from fewshot.detector.thresholds import promise

CARD = FileKind("a model card", b"# Model card: ")
_SIGNS = re.compile(r"([\\`*_\[\]<>|#&~$@{}!^=]|:(?=//))")  # what Markdown, GitHub's too, or HTML makes something of
_WORLD_WIDE_WEB = re.compile(r"(?i)(www)\.")  # GitHub makes a link of it

INTENDED = """\
To sort images for a person's review: which of many images are worth a look, and why. It was fitted on few images of the
sources listed below, and is meant for images that come the same way: the same kind of pictures, the same re-encoding by
the same platform, the same kinds of generators."""

LIMITS = (
    "**A verdict is no proof.** It must not be the only ground for a decision about a person: not for a sanction, an "
    "accusation, a grade, a refusal. The image, its source and the person's own account come first.",
    "**`unsure` is an answer.** It says that the evidence does not suffice. It is neither suspicion nor acquittal, and "
    "no share of the images that get it is known to be either.",
    "**`natural` is no certificate of authenticity.** A real photograph can be staged, cropped, or shown with a false "
    "caption; an image of an unknown generator, or one with a small generated part, may look natural.",
    "**Other traffic, other rates.** The promise is for images that resemble the calibration naturals. Those of "
    "another platform, camera, subject, size or compression may be flagged more often; `fewshot drift` watches for "
    "it. After a change, certify again on new naturals.",
    "**New generators.** What it finds resembles the synthetic images that it was fitted on. A generator that is not "
    "among them may be missed entirely.",
    "**Edits.** Re-encoding, scaling, cropping, filters and screenshots move scores, and whoever wants to deceive can "
    "search for an edit that does. `fewshot predict --stability` shows what common ones do; none of this withstands an "
    "adversary who tries.",
    "**Groups of people.** Whether error rates differ between groups of people, places or kinds of pictures was not "
    "measured. Where that matters, measure it before use.",
    "**Base rates.** Where synthetic images are rare, most flagged images are natural even at a low false-alarm rate: "
    "with 5 % false alarms and 1 % synthetic traffic five of six of them, even if none is missed.",
)

CERTIFICATE_MEANS = """\
The threshold is an order statistic of the scores of natural images that took no part in fitting nor in any choice. If
they are drawn as the traffic is, then with the stated confidence, over such draws, the share of natural traffic beyond
the threshold is at most the stated one, for every distribution of scores."""

CERTIFICATE_DOES_NOT = (
    "that a flagged image is synthetic: it bounds how many natural images are flagged, not how many flagged ones are "
    "natural;",
    "anything of traffic that does not resemble the calibration naturals, or of any part of it (one user, one camera);",
    "anything of synthetic images that are missed, unless the second threshold is certified as well;",
    "that it would hold again after the threshold was chosen by looking at several detectors' results on the same "
    "naturals.",
)


def model_card(detector: Detector) -> str:
    """Return the model card of a detector as Markdown."""
    described = detector.description
    parts = [
        f"# Model card: {_text(detector.name)}",
        "Says of an image whether it is synthetic (made by an image generator), natural, or that it is unsure.",
        _table(_identity(detector)),
        "## Intended use",
        INTENDED,
        "## Limits of use",
        _bullets(LIMITS),
        "## What it was fitted on",
        _fitted_on(detector),
        "## What it promises",
        _promises(described.alarm, described.clear),
        "## How well it tells the classes apart",
        _told_apart(detector),
        "## Backbones and licences",
        *(_member(member) for member in described.members),
        *(["## Notes", _bullets(tuple(map(_text, described.notes)))] if described.notes else []),
        "## Versions",
        _bullets([f"{_text(name)} {_text(version)}" for name, version in sorted(described.versions.items())]),
    ]
    return "\n\n".join(parts) + "\n"


def _identity(detector: Detector) -> Iterator[tuple[str, str]]:
    described = detector.description
    yield "file (SHA-256)", f"`{detector.digest}`" if detector.digest else "not saved yet"
    yield "successor of (SHA-256)", _text(described.parent) if described.parent else "none; it is the first"
    yield "fitted", _text(described.created)
    yield "looks at", ", ".join(f"{_text(each.name)} with the head {_text(each.head)}" for each in described.members)
    if described.fusion is not None:
        yield "fused", _text(weighed(described))
    natural_below, synthetic_above = described.bounds
    yield "`synthetic`", f"score above {synthetic_above:.6g}"
    yield "`natural`", f"score below {natural_below:.6g}"
    yield "`unsure`", "between the two"
    yield "seed of all draws", str(described.seed)


def _fitted_on(detector: Detector) -> str:
    described, images = detector.description, detector.images
    rows = [
        ("support: the head is fitted on it", described.support),
        ("calibration naturals: they set the threshold for false alarms", described.calibration),
        ("held-out synthetic images: they bound the misses", described.held_out_synthetic),
    ]
    lines = ["| images | natural | synthetic | sources |", "|---|---:|---:|---|"]
    lines += [f"| {what} | {of.natural} | {of.synthetic} | {_sources(of.sources)} |" for what, of in rows]
    known = images.rows("known")
    if len(known):
        synthetic = int(images.synthetic[known].sum())
        sources = _sources(images.counts("known"))
        lines.append(
            f"| further known images, shown as evidence | {len(known) - synthetic} | {synthetic} | {sources} |"
        )
    return "\n\n".join(["\n".join(lines), _chosen(described), *_fused(described)])


def _fused(described: Description) -> Iterator[str]:
    """Yield how a fusion came about, and whether it paid."""
    if described.fusion is None:
        return
    yield (
        "The layers are fused: one support vector machine on the weighted sum of their kernels. The weights come from "
        "the support alone, by what each layer shows there."
    )
    lines = ["| inside the support | AUROC, mean over folds |", "|---|---:|"]
    yield "\n".join([*lines, *(f"| {_text(name)} | {auroc:.3f} |" for name, auroc in compared(described))])


def _chosen(described: Description) -> str:
    if described.candidates:
        return (
            f"Chosen among {len(described.candidates)} layers and heads by cross-validation inside the support; what "
            f"certifies took no part."
        )
    if described.parent:
        anew = "" if described.fusion is None else ", but for the weights, which were found again"
        return f"Backbone and layer are those of the detector that it succeeds; nothing was chosen anew{anew}."
    return "Backbone, layer and head were given, and nothing was chosen on images."


def _promises(alarm: Threshold, clear: Threshold) -> str:
    lines = [_bullets([f"`synthetic`: {promise(alarm)}.", f"`natural`: {promise(clear)}."])]
    if alarm.wanted is not None:
        lines.append(f"A share of {100 * alarm.wanted:g} % was wanted, for which there were too few naturals.")
    if "certificate" in (alarm.kind, clear.kind):
        lines += [CERTIFICATE_MEANS, "It does not say:", _bullets(CERTIFICATE_DOES_NOT)]
    if alarm.kind == "estimate":
        lines.append(
            "**No false-alarm rate is guaranteed.** The threshold is an estimate from the support, each image left out "
            "in turn. Fit again with `--naturals` before anything depends on it."
        )
    return "\n\n".join(lines)


def _told_apart(detector: Detector) -> str:
    found = detector.description.held_out
    where = (
        "on images that took no part in fitting"
        if found.kind == "held-out"
        else "inside the support, each image left out in turn, which is no measurement on new images"
    )
    interval = (
        "no interval can be given"
        if found.low is None or found.high is None
        else f"95 % interval {found.low:.3f} to {found.high:.3f}"
    )
    return (
        f"AUROC {found.auroc:.3f} ({interval}) {where}: {found.natural} natural and {found.synthetic} synthetic "
        f"images. 0.5 is chance, 1 is without error. It holds for images like these."
    )


def _member(member: Member) -> str:
    recorded = member.provenance
    card = recorded.get("card")
    about: Mapping[str, Any] = card if isinstance(card, Mapping) else {}
    weights = recorded.get("weights")
    files = weights if isinstance(weights, Mapping) else {}
    rows = [
        ("layer", f"{_text(member.layer)}, {member.dimension} numbers, views {_text(', '.join(member.views))}"),
        ("paper", _text(about.get("paper") or "not recorded")),
        ("code", _text(about.get("reference") or "not recorded")),
        ("licence of code and weights", _text(member.licence or about.get("licence") or "not recorded; find it out")),
        ("weights (SHA-256)", ", ".join(f"{_text(name)} {_text(digest)}" for name, digest in files.items()) or "none"),
        ("input rule", _text(recorded.get("input") or "not recorded")),
        ("decoder, precision", _text(f"{recorded.get('decoder', '')}, {recorded.get('precision', '')}")),
        ("AUROC inside the support, mean over folds", f"{member.auroc:.3f}"),
        *([] if member.weight is None else [("weight of its kernel", f"{member.weight:.2g}")]),
    ]
    return f"### {_text(member.backbone)}\n\n{_table(rows)}"


def _table(rows: Any) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _sources(sources: Mapping[str, int]) -> str:
    return ", ".join(f"{_text(source)} {count}" for source, count in sources.items()) or "none"


def _text(value: object) -> str:
    """Return a text of others on one line, of which Markdown makes nothing but itself."""
    return _WORLD_WIDE_WEB.sub(r"\1\\.", _SIGNS.sub(r"\\\1", escape_control(value)))
