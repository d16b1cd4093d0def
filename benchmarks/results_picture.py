"""The picture of the README: ten shots on real images, with and without what the files give away.

``make results`` draws it from the store and reports that ``benchmarks/results.py`` leaves in ``build``; it shows the
numbers of docs/results.md and no image.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import fewshot
from fewshot.audit.confounds import Confound, confounds
from fewshot.figures.canvas import drawn, save_png
from fewshot.figures.series import look
from fewshot.results.report import Report
from fewshot.results.row import PRETRAINED, Row

TITLES = {
    "harmonised": "One size, one JPEG pass for all",
    "native": "Files as they came",
}
LEFT_OUT = (
    "timm:vit_small_patch14_dinov2.lvd142m@224",
)  # tuned for saliency: it stands for no network that users have


def picture(reports: Mapping[str, Report], files: Mapping[str, Confound]) -> Figure:
    """Return one panel per track: means, where single draws land, pretrained heads, and file metadata alone.

    Args:
        reports: track -> report of ``adapt`` at ten shots.
        files: track -> how well file metadata alone separates the classes.
    """
    found = {
        track: [row for row in report.where(metric="auroc", source="all") if row.backbone not in LEFT_OUT]
        for track, report in reports.items()
    }
    means = {row.backbone: row.summary().mean for row in found["harmonised"] if row.head != PRETRAINED}
    order = sorted(means, key=lambda name: means[name])
    figure, panels = drawn(8.6, 3.1, columns=len(TITLES), sharex=True, sharey=True)
    for axes, track in zip(panels, TITLES, strict=True):
        axes.set_title(TITLES[track], loc="left", fontsize=9.5)
        _rows(axes, found[track], order)
        _confound(axes, files[track])
        axes.axvline(0.5, color="#888888", linewidth=0.8, linestyle=":")
        axes.set_xlabel("AUROC")
    panels[0].set_yticks(range(len(order)), order)
    panels[0].set_xlim(0.3, 1.02)
    figure.suptitle("Ten labelled images per class: dot, mean of 100 draws; line, nine draws of ten", fontsize=10)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8
    )
    return figure


def _rows(axes: Axes, found: Sequence[Row], order: Sequence[str]) -> None:
    labelled: set[str] = set()
    for row in found:
        height, mean = order.index(row.backbone), row.summary().mean
        label = "the detector's own head, no labels" if row.head == PRETRAINED else "SVM on ten labelled per class"
        shown = None if label in labelled else label
        labelled.add(label)
        if row.head == PRETRAINED:
            axes.plot(mean, height, "D", color=look(1).colour, fillstyle="none", label=shown)
            continue
        axes.plot(row.spread, [height] * 2, color=look(0).colour, linewidth=3, alpha=0.45, solid_capstyle="round")
        axes.plot(mean, height, "o", color=look(0).colour, label=shown)


def _confound(axes: Axes, files: Confound) -> None:
    axes.axvspan(files.low, min(files.high, 1.0), color=look(3).colour, alpha=0.25, linewidth=0)
    axes.axvline(files.auroc, color=look(3).colour, label="file metadata alone, no pixel seen (95 % interval)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read what was measured and draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", type=Path, default=Path("build/results.h5"))
    parser.add_argument("--reports", type=Path, default=Path("build"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/results.png"))
    options = parser.parse_args(arguments)
    store = fewshot.FeatureStore(options.store)
    reports = {track: Report.load(options.reports / f"results-{track}.json") for track in TITLES}
    files = {track: confounds(store, store.select(track=track))[0] for track in TITLES}
    save_png(picture(reports, files), options.out, dots_per_inch=110)


if __name__ == "__main__":
    main()
