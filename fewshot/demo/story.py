"""The whole demo, from images to a page and a detector; every step a call of the library."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.audit import Audit, audit
from fewshot.core.arrays import IntArray
from fewshot.core.files import make_folder
from fewshot.core.marked_folders import claim_folder
from fewshot.core.outputs import DETECTOR, PAGE, PNG, REPORT, SCORES, STORE, Output, require_outputs
from fewshot.demo.deployed import FILE, GENERATOR, Deployed, about, deployed
from fewshot.demo.images import NATURAL, TABLE, write_images
from fewshot.demo.page_picture import page_picture
from fewshot.demo.photographs import TILE_PIXELS, TILES_PER_PHOTOGRAPH
from fewshot.demo.poster import poster
from fewshot.embeddings.extract import embed
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.lookup import look_up
from fewshot.embeddings.search.query import image_files
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.figures.bars import POOLED
from fewshot.figures.canvas import save_png
from fewshot.figures.confusion import confusion
from fewshot.page.charts import Chart, feature_charts
from fewshot.page.curves import roc_charts
from fewshot.page.document import write_page
from fewshot.page.gallery import Shown, write_gallery
from fewshot.protocols.across_stores import adapt_and_save
from fewshot.protocols.attribution import Attribution
from fewshot.protocols.trials.source_measures import ClosedSet, closed_set
from fewshot.results.report import Report
from fewshot.results.scores import scores_beside
from fewshot.results.tables import report_table

BACKBONES = ("spectrum", "efficientnet-lite0")
SHOTS = (1, 5, 10)
SERVED = "served.png"
METRICS = ("auroc", "average_precision", "tpr_at_5_fpr")

NO_LABEL_IS_WRONG = (
    "Here no label is wrong: every fake is a remake of a natural tile, and its group keeps both on one side."
)

TOY = """\
What is toy about this: the fakes are photographs remade by a few lines of signal processing, not by generative models;
there are only 18 photographs, very unlike each other, so that ten images are little to learn from; and every fake shows
what a natural tile shows, which real collections never do. The numbers say that the pipeline works and which trace
which backbone sees. They say nothing about generators of today."""


@dataclass(frozen=True)
class Story:
    """What the demo made.

    Args:
        folder: where everything lies.
        store: the features.
        report: the few-shot protocol's.
        nearest: backbone -> how often the nearest image of another photograph is of the same source.
        deployed: the detector of one generator, and what it said of further tiles.
        picture, page: the PNG and the HTML page.
    """

    folder: Path
    store: FeatureStore
    report: Report
    nearest: Mapping[str, ClosedSet]
    deployed: Deployed
    picture: Path
    page: Path


def demo_store(
    folder: Path | str = "demo", *, seed: int = 0, most: int = TILES_PER_PHOTOGRAPH, quiet: bool = True
) -> FeatureStore:
    """Return the demo's store, making images and features where they are not there yet.

    Args:
        folder: where ``images`` and ``images.h5`` are made.
        seed: what the generators draw follows from it.
        most: tiles per photograph.
        quiet: show no progress.
    """
    images = made_images(Path(folder), seed=seed, most=most)
    return embed(images, backbones=BACKBONES, out=Path(folder) / "images.h5", quiet=quiet)


def made_images(folder: Path, *, seed: int, most: int) -> Path:
    """Return the folder of the demo's images, writing them unless their table, which is written last, is there.

    Raises:
        OutputError: the folder cannot be made, or holds images of somebody else.
    """
    images = claim_folder(folder / "images", purpose="the images of the demo", older=lambda of: (of / TABLE).is_file())
    if not (images / TABLE).is_file():
        write_images(images, seed=seed, most=most)
    return images


def run_demo(
    folder: Path | str = "demo",
    *,
    seed: int = 0,
    trials: int = 100,
    most: int = TILES_PER_PHOTOGRAPH,
    say: Callable[[str], None],
    quiet: bool = False,
    program: str = "fewshot",
) -> Story:
    """Run the demo from images to page.

    Args:
        folder: where everything is made; what is there already is used again.
        seed: of images and draws.
        trials: draws of the support.
        most: tiles per photograph.
        say: takes every paragraph as it comes.
        quiet: show no progress.
        program: how the reader calls the command line; named in what comes next.

    Raises:
        FewshotError: a photograph is not installed, or the folder cannot be written.
    """
    root = Path(folder)
    _require_files(make_folder(root))
    images = made_images(root, seed=seed, most=most)
    store = demo_store(root, seed=seed, most=most, quiet=quiet)
    say(_about_images(store, images))
    options: dict[str, Any] = {"shots": SHOTS, "head": "svm", "trials": trials, "seed": seed, "group": "group"}
    report = adapt_and_save([store.path], out=root / "report.json", keep_scores=True, **options)
    say(_about_adapting(report, trials))
    nearest = {backbone: nearest_of_other_photographs(store, backbone) for backbone in BACKBONES}
    say(_about_nearest(nearest))
    draw_gallery(store, BACKBONES[0], root / "gallery.html")
    curve = attribution(store, seed=seed)
    curve.save(root / "attribution.json")
    say(_about_attribution(curve))
    found = audit(store)
    say(_about_audit(found))
    detector = deployed(store, root / FILE, seed=seed)
    say(about(detector))
    lacking = page_picture(root / FILE, images / detector.example, root / SERVED)
    say(_about_page(root, lacking))
    sources = [NATURAL, *(source for source in store.sources if source != NATURAL)]
    picture = save_png(poster(images, sources, report.rows), root / "demo.png")
    page = _write_demo_page(root, {"report.json": report, "attribution.json": curve}, store, nearest, found)
    say(_what_next(root, program))
    return Story(root, store, report, nearest, detector, picture, page)


def _require_files(root: Path) -> None:
    """Refuse, before anything is made, to write over files that are not of a demo."""
    kinds = {"images.h5": STORE, "report.json": REPORT, "report.npz": SCORES, "attribution.json": REPORT}
    kinds |= {"gallery.html": PAGE, "page.html": PAGE, "demo.png": PNG, SERVED: PNG, FILE: DETECTOR}
    require_outputs([Output(root / name, kind) for name, kind in kinds.items()])


def _write_demo_page(
    root: Path,
    reports: Mapping[str, Report],
    store: FeatureStore,
    nearest: Mapping[str, ClosedSet],
    found: Audit,
) -> Path:
    """Write the page of everything that was measured; return its path."""
    few_shot = reports["report.json"]
    return write_page(
        reports,
        root / "page.html",
        title="fewshot demo",
        note=NO_LABEL_IS_WRONG,
        audit=found,
        beside={"report.json": list(roc_charts(few_shot, scores_beside(root / "report.json")))},
        more=[*_confusions(nearest), *feature_charts(store, [few_shot])],
    )


def nearest_of_other_photographs(store: FeatureStore, backbone: str) -> ClosedSet:
    """Take every image's source from its nearest image that is not of the same photograph."""
    index = SourceIndex(store, backbone=backbone)
    groups = store.column("group")
    same: list[IntArray] = [np.flatnonzero(groups == groups[row]) for row in index.rows]
    found = index.nearest(index.features(index.rows), k=1, leave_out=same)
    return closed_set(list(index.sources), list(found.sources[:, 0]))


def attribution(store: FeatureStore, *, seed: int = 0) -> Report:
    """Run single-class attribution on the natural tiles, small enough for a demo."""
    return (
        Attribution(
            fit_on=("natural",),
            fractions=(0.1, 0.3, 1.0),
            backbone=BACKBONES[0],
            trials=3,
            references=("linear-probe",),
            recipe={"steps": 100, "widths": (64,), "latent": 16},
            seed=seed,
        )
        .run(store)
        .report
    )


def draw_gallery(store: FeatureStore, backbone: str, path: Path) -> Path:
    """Write a page of one image of every source beside its nearest images of other photographs."""
    index = SourceIndex(store, backbone=backbone)
    groups, keys = store.column("group"), store.column("key")
    rows = np.array([store.select(source=source)[0] for source in store.sources])
    same: list[IntArray] = [np.flatnonzero(groups == groups[row]) for row in rows]
    findings = look_up(index, index.features(rows), [str(keys[row]) for row in rows], leave_out=same)
    shown = [
        Shown(finding, file, image_files(store, [near.row for near in finding.neighbours]), source)
        for finding, file, source in zip(findings, image_files(store, list(rows)), store.sources, strict=True)
    ]
    return write_gallery(shown, path, title="Nearest images of other photographs", note=f"By {backbone}.")


def _confusions(nearest: Mapping[str, ClosedSet]) -> Iterator[Chart]:
    for backbone, found in nearest.items():
        caption = f"The source of the nearest image of another photograph, by {backbone}."
        yield Chart(confusion(found.confusion, found.names, title=backbone), caption)


def _about_audit(found: Audit) -> str:
    warnings = "\n".join(f"   warning: {warning}" for warning in found.warnings) or "   no warning"
    return f"5. Audit. What could fool a reader of these numbers:\n{warnings}\n   {NO_LABEL_IS_WRONG}"


def _about_page(root: Path, lacking: str) -> str:
    if lacking:
        return f"7. Its page. There is no picture of it, for {lacking}; `serve` below opens it in your browser."
    return f"7. Its page, with the verdict on one of these tiles: {root / SERVED}."


def _about_attribution(curve: Report) -> str:
    pooled = [row for row in curve.rows if row.source == "all"]
    return (
        "4. Attribution. An encoder-decoder fitted to growing shares of natural images alone, beside a linear probe\n"
        f"   that sees both classes ({BACKBONES[0]}):\n\n{report_table(pooled, ['auroc'])}"
    )


def _about_images(store: FeatureStore, images: Path) -> str:
    natural = int((~store.synthetic).sum())
    photographs = len(set(store.column("group")))
    return (
        f"1. Images and features. {natural} natural tiles of {photographs} photographs that come with scikit-image and "
        f"scikit-learn,\n   remade by {len(store.sources) - 1} toy generators: {len(store)} PNG files of "
        f"{TILE_PIXELS} x {TILE_PIXELS} in {images}.\n   Embedded by {' and '.join(store.backbones)} into {store.path}."
    )


def _about_adapting(report: Report, trials: int) -> str:
    pooled = [row for row in report.rows if row.source == "all"]
    largest = [row for row in report.rows if row.source not in POOLED and row.shots == max(SHOTS)]
    shots = ", ".join(map(str, SHOTS))
    return (
        f"2. Adapt. A support vector machine on {shots} labelled images per class, {trials} draws;\n"
        f"   no photograph is on both sides. Read the 5-95 % range first: there one draw may land.\n\n"
        f"{report_table(pooled, METRICS)}\n\n   By generator, from {max(SHOTS)} images per class of all of them:\n\n"
        f"{report_table(largest, METRICS)}"
    )


def _about_nearest(nearest: Mapping[str, ClosedSet]) -> str:
    chance = 1 / len(next(iter(nearest.values())).names)
    lines = [f"   {backbone}: {100 * found.accuracy:.0f} % right" for backbone, found in nearest.items()]
    return (
        "3. Nearest source. Every image's source, taken from its nearest image of another photograph "
        f"(chance: {100 * chance:.0f} %).\n" + "\n".join(lines)
    )


def _what_next(root: Path, program: str) -> str:
    return f"""\
{TOY}

Look at {root / "demo.png"}, {root / "page.html"} and {root / "gallery.html"}. Then:

  {program} inspect {root / "images.h5"}
  {program} adapt {root / "images.h5"} --shots 10 --head logistic,knn --group group
  {program} nearest {root / "images.h5"} {root / "images" / "spectral" / "astronaut-00.png"} -b spectrum
  {program} predict {root / FILE} {root / "images" / GENERATOR} --stability
  {program} serve {root / FILE}      # its page: drop a picture, read the verdict
  {program} embed YOUR-IMAGES -b spectrum,efficientnet-lite0 -o yours.h5"""
