"""The leaderboard of backbones: refitted beside pretrained heads, and the comparison with the paper's sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot.results.report import Report
from fewshot.results.row import PRETRAINED, Row
from fewshot.results.tables import text_table
from fewshot.stats.intervals import Summary

# FiSeR's twelve: the first of the sixteen in its baselines/registry.yaml @ ad2637c, in that order; notes on vendored
# code speak of the other four apart, and DIRE, which the abstract compares with, is the twelfth.
TWELVE = (
    "resnet50",
    "clipdetection",
    "cnndetection",
    "lgrad",
    "gramnet",
    "freqnet",
    "npr",
    "safe",
    "lasted",
    "unifd",
    "aide",
    "dire",
)
FISER = "fiser"


@dataclass(frozen=True)
class LeaderboardEntry:
    """One backbone with one head at one shot count, pooled.

    Args:
        pretrained: AUROC of the head that came with the checkpoint, on the same queries; None when it has none.
        refitted: the AUROC over trials.
        macro: mean over trials of the average over generators; None with a single generator.
    """

    backbone: str
    layer: str
    head: str
    dataset: str
    shots: int | None
    pretrained: float | None
    refitted: Summary
    macro: float | None

    @property
    def gain(self) -> float | None:
        """Refitted minus pretrained AUROC."""
        return None if self.pretrained is None else self.refitted.mean - self.pretrained

    @property
    def of_the_twelve(self) -> bool:
        """Whether it is one of the detectors that the paper averages over."""
        return self.backbone.split(":")[0].removesuffix("-rgb") in TWELVE


def leaderboard(report: Report) -> list[LeaderboardEntry]:
    """Return one entry per backbone, layer, head and shot count, the best first.

    Left out is what no single backbone has: what was chosen on query labels, fused, or chosen among backbones.
    """
    pooled = report.where(metric="auroc", source="all")
    rows = [row for row in pooled if row.selection != "oracle" and not row.members]
    macro = {row.setting: row for row in report.where(metric="auroc", source="macro")}
    pretrained = {(row.backbone, row.dataset): row.summary().mean for row in rows if row.head == PRETRAINED}
    found = [
        LeaderboardEntry(
            backbone=row.backbone,
            layer=row.layer,
            head=row.head,
            dataset=row.dataset,
            shots=row.shots,
            pretrained=pretrained.get((row.backbone, row.dataset)),
            refitted=row.summary(),
            macro=_macro(row, macro),
        )
        for row in rows
        if row.head != PRETRAINED
    ]
    return sorted(found, key=lambda one: -one.refitted.mean)


def leaderboard_table(entries: Sequence[LeaderboardEntry]) -> str:
    """Return the leaderboard as text, the 5-95 % range of a single draw first."""
    header = [
        "backbone",
        "layer",
        "head",
        "shots",
        "AUROC 5-95 %",
        "mean",
        "95 % interval",
        "macro",
        PRETRAINED,
        "gain",
    ]
    lines = []
    for one in entries:
        summary = one.refitted
        cells = [one.backbone, one.layer, one.head, str(one.shots), f"{summary.p5:.3f}-{summary.p95:.3f}"]
        cells += [f"{summary.mean:.3f}", f"{summary.low:.3f}-{summary.high:.3f}", _number(one.macro)]
        lines.append([*cells, _number(one.pretrained), "n/a" if one.gain is None else f"{one.gain:+.3f}"])
    return text_table(header, lines)


def paper_comparison(entries: Sequence[LeaderboardEntry]) -> list[str]:
    """Return what this report says of the paper's sentence, in both readings, and of its average over twelve.

    A backbone with several heads, layers or shot counts counts once, by the mean of its entries.

    The abstract (arXiv 2606.00606) says that an SVM on 10 labelled images per class improves AUROC "averaged over 12
    widely used detectors": either each detector over its own pretrained head, or FiSeR over the mean of the others.
    """
    twelve = [one for one in entries if one.of_the_twelve]
    missing = [name for name in TWELVE if not any(one.backbone.startswith(name) for one in twelve)]
    lines = [_average(twelve, missing)]
    gains = _by_backbone([(one.backbone, one.gain) for one in entries if one.gain is not None])
    if gains:
        of_twelve = _by_backbone([(one.backbone, one.gain) for one in twelve if one.gain is not None])
        beside = f"; over the {len(of_twelve)} of the paper's twelve {np.mean(of_twelve):+.4f}" if of_twelve else ""
        detectors = "1 detector" if len(gains) == 1 else f"{len(gains)} detectors"
        lines.append(
            f"reading (a), refitted over pretrained head: {np.mean(gains):+.4f} AUROC, averaged over {detectors} "
            f"with a pretrained head{beside}"
        )
    else:
        lines.append("reading (a), refitted over pretrained head: not measured, no backbone here brings its own head")
    means = [(one.backbone, one.refitted.mean) for one in entries]
    own = _by_backbone([(name, mean) for name, mean in means if name.split(":")[0] == FISER])
    others = _by_backbone([(name, mean) for name, mean in means if name.split(":")[0] != FISER])
    if own and others:
        lines.append(f"reading (b), FiSeR over the mean of the others: {np.mean(own) - np.mean(others):+.4f} AUROC")
    else:
        lines.append(
            "reading (b), FiSeR over the mean of the others: not measured, no FiSeR features are in this report"
        )
    return lines


def _average(twelve: Sequence[LeaderboardEntry], missing: Sequence[str]) -> str:
    if not twelve:
        return "average over the paper's twelve detectors: not measured, none of them is in this report"
    mean = np.mean(_by_backbone([(one.backbone, one.refitted.mean) for one in twelve]))
    lacking = f"; missing: {', '.join(missing)}" if missing else ""
    return f"average over {12 - len(missing)} of the paper's twelve detectors: AUROC {mean:.4f}{lacking}"


def _by_backbone(values: Sequence[tuple[str, float]]) -> list[float]:
    """Return one value per backbone: the mean of its own."""
    of_backbone: dict[str, list[float]] = {}
    for backbone, value in values:
        of_backbone.setdefault(backbone, []).append(value)
    return [float(np.mean(found)) for found in of_backbone.values()]


def _macro(row: Row, macro: dict[tuple[object, ...], Row]) -> float | None:
    setting = list(row.setting)
    setting[5] = "macro"
    found = macro.get(tuple(setting))
    return None if found is None else found.summary().mean


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
