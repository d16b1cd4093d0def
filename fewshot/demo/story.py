"""The whole demo, from images to a page and a detector; every step a call of the library."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from fewshot.audit import Audit, audit
from fewshot.core.arrays import IntArray
from fewshot.core.files import make_folder
from fewshot.core.marked_folders import claim_folder
from fewshot.core.outputs import DETECTOR, PAGE, PNG, REPORT, SCORES, STORE, Output, require_outputs
from fewshot.demo.deployed import FILE, Deployed, deployed
from fewshot.demo.few_shots import AFTER, BEFORE, NEW, FewShots, few_shots
from fewshot.demo.images import TABLE, write_images
from fewshot.demo.page_picture import page_picture
from fewshot.demo.paragraphs import (
    NO_LABEL_IS_WRONG,
    about_attribution,
    about_audit,
    about_detector,
    about_few_shots,
    about_images,
    about_nearest,
    about_page,
    about_story,
    headline,
    what_next,
)
from fewshot.demo.photographs import TILES_PER_PHOTOGRAPH
from fewshot.demo.poster import poster
from fewshot.embeddings.extract import embed
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.lookup import look_up
from fewshot.embeddings.search.query import image_files
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.figures.canvas import save_png
from fewshot.figures.confusion import confusion
from fewshot.page.charts import Chart, feature_charts
from fewshot.page.curves import roc_charts
from fewshot.page.document import write_page
from fewshot.page.gallery import Shown, write_gallery
from fewshot.protocols.attribution import Attribution
from fewshot.protocols.trials.source_measures import ClosedSet, closed_set
from fewshot.results.report import Report
from fewshot.results.scores import scores_beside

BACKBONES = ("spectrum", "efficientnet-lite0")
SERVED = "served.png"


@dataclass(frozen=True)
class Story:
    """What the demo made.

    Args:
        folder: where everything lies.
        store: the features.
        few_shots: what heads caught before and after they saw a few images of a generator.
        nearest: backbone -> how often the nearest image of another photograph is of the same source.
        deployed: the detector of one generator, and what it said of further tiles.
        picture, page: the PNG and the HTML page.
    """

    folder: Path
    store: FeatureStore
    few_shots: FewShots
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
    trials: int = 50,
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
    import_module("scipy.linalg")  # only libraries that are loaded are limited
    with threadpool_limits(1, user_api="blas"):  # matrices of tens of rows: more threads only wait for one another
        return _told(root, images, store, trials=trials, seed=seed, say=say, program=program)


def _told(
    root: Path,
    images: Path,
    store: FeatureStore,
    *,
    trials: int,
    seed: int,
    say: Callable[[str], None],
    program: str,
) -> Story:
    """Measure everything on the store, the story first, and say every step."""
    found = few_shots(store, root, trials=trials, seed=seed)
    say(about_story(found))
    say(about_images(store, images))
    say(about_few_shots(found))
    nearest = {backbone: nearest_of_other_photographs(store, backbone) for backbone in BACKBONES}
    say(about_nearest(nearest))
    draw_gallery(store, BACKBONES[0], root / "gallery.html")
    curve = attribution(store, seed=seed)
    curve.save(root / "attribution.json")
    say(about_attribution(curve))
    audited = audit(store)
    say(about_audit(audited))
    detector = deployed(store, root / FILE, seed=seed)
    say(about_detector(detector))
    lacking = page_picture(root / FILE, images / detector.example, root / SERVED)
    say(about_page(root / SERVED, lacking))
    picture = save_png(poster(images, found), root / "demo.png")
    page = _write_demo_page(root, found, curve, store, nearest, audited)
    say(what_next(root, program))
    return Story(root, store, found, nearest, detector, picture, page)


def _require_files(root: Path) -> None:
    """Refuse, before anything is made, to write over files that are not of a demo."""
    kinds = {"images.h5": STORE, AFTER: REPORT, "report.npz": SCORES, BEFORE: REPORT, "attribution.json": REPORT}
    kinds |= {"gallery.html": PAGE, "page.html": PAGE, "demo.png": PNG, SERVED: PNG, FILE: DETECTOR}
    require_outputs([Output(root / name, kind) for name, kind in kinds.items()])


def _write_demo_page(
    root: Path,
    found: FewShots,
    curve: Report,
    store: FeatureStore,
    nearest: Mapping[str, ClosedSet],
    audited: Audit,
) -> Path:
    """Write the page of everything that was measured; return its path."""
    few_shot = found.after[NEW]
    return write_page(
        {AFTER: few_shot, "attribution.json": curve},
        root / "page.html",
        title="fewshot demo",
        note=f"{headline(found)} {NO_LABEL_IS_WRONG}",
        audit=audited,
        beside={AFTER: list(roc_charts(few_shot, scores_beside(root / AFTER)))},
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
