"""What the demo says: the story in one sentence first, then every step in a few lines of at most 100 columns."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from fewshot.audit import Audit
from fewshot.demo.deployed import GENERATOR, Deployed
from fewshot.demo.few_shots import HEAD, KNOWN, NEW, OTHER_HEAD, SHOTS, FewShots
from fewshot.demo.photographs import TILE_PIXELS
from fewshot.detector.thresholds import promise
from fewshot.detector.verdict import NATURAL as SAID_NATURAL
from fewshot.detector.verdict import SYNTHETIC, UNSURE
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.trials.source_measures import ClosedSet
from fewshot.results.answer import answer
from fewshot.results.paragraph import wrapped
from fewshot.results.report import Report
from fewshot.results.row import Row
from fewshot.results.tables import text_table

_INDENT = "   "

NO_LABEL_IS_WRONG = (
    "Here no label is wrong: every fake is a remake of a natural tile, and its group keeps both on one side."
)

TOY = (
    "What is toy about this: the fakes are photographs remade by a few lines of signal processing, not by generative "
    "models; there are only 18 photographs, very unlike each other; and every fake shows what a natural tile shows, "
    "which real collections never do. The numbers say that the pipeline works and which trace which backbone sees. "
    "They say nothing about generators of today."
)


def headline(found: FewShots) -> str:
    """Return the story in one sentence of what was measured, whatever it was."""
    known, missed, caught = found.missed(KNOWN), found.missed(NEW), found.caught(NEW)
    low, high = (_share(value, found.metric) for value in caught.spread)
    verb, of = ("catches", "of") if _is_share(found) else ("has an AUROC of", "on")
    return (
        f"A head fitted on {found.known_tiles} images of the generator {KNOWN!r} {verb} {mean(known)} {of} its other "
        f"images, and {mean(missed)} {of} those of {NEW!r}, which it never saw; fitted on {max(SHOTS)} images of "
        f"{NEW!r}: {mean(caught)} (a single draw of {max(SHOTS)}: {low} to {high})."
    )


def about_story(found: FewShots) -> str:
    """Return the first paragraph: the story, and how it was measured."""
    caught = "Caught: scored above all but 5 % of natural images. " if _is_share(found) else ""
    how = (
        f"{caught}Means of {found.trials} draws, on photographs that no head saw. Both generators are toys, which "
        f"remake photographs by a few lines of signal processing."
    )
    return f"{_wrapped(headline(found))}\n{_wrapped(how)}"


def _is_share(found: FewShots) -> bool:
    return found.metric == "tpr_at_5_fpr"


def mean(row: Row) -> str:
    """Return a row's mean as the demo writes it: a share caught in per cent, an AUROC with two digits."""
    return _share(row.summary().mean, row.metric)


def _share(value: float, metric: str) -> str:
    return f"{100 * value:.0f} %" if metric == "tpr_at_5_fpr" else f"{value:.2f}"


def about_images(store: FeatureStore, images: Path) -> str:
    """Return the paragraph of images and features."""
    natural = int((~store.synthetic).sum())
    photographs = len(set(store.column("group")))
    return _paragraph(
        f"1. Images and features. {natural} natural tiles of {photographs} photographs that come with scikit-image and "
        f"scikit-learn, remade by {len(store.sources) - 1} toy generators: {len(store)} PNG files of {TILE_PIXELS} x "
        f"{TILE_PIXELS} in {images}. Embedded by {' and '.join(store.backbones)} into {store.path.name}."
    )


def about_few_shots(found: FewShots) -> str:
    """Return the paragraph of the few-shot protocol, with what the known generator's head catches beside it."""
    what = "Share caught" if _is_share(found) else "AUROC"
    new = found.after[NEW]
    return "\n".join(
        (
            _paragraph(
                f"2. Few shots. {what} of each generator: by the head fitted on every {KNOWN!r} tile of the support's "
                f"photographs, and by one fitted on {max(SHOTS)} tiles of the generator itself and {max(SHOTS)} "
                f"natural ones."
            ),
            "",
            _indented(text_table(["", f"fitted on {KNOWN}", f"{max(SHOTS)} shots", "a single draw"], _lines(found))),
            "",
            _paragraph(f"{_INDENT}Shots of {NEW!r}, and which head: {answer(new)}."),
            "",
            _indented(text_table(["shots", *(f"{shots:>3}" for shots in SHOTS)], list(_curve(found)))),
        )
    )


def _lines(found: FewShots) -> list[list[str]]:
    lines = []
    for generator in found.after:
        few = found.caught(generator)
        low, high = (_share(value, found.metric) for value in few.spread)
        cells = (mean(found.missed(generator)), mean(few), f"{low} to {high}")
        lines.append([generator, *(cell.rjust(width) for cell, width in zip(cells, (7, 7, 14), strict=True))])
    return lines


def _curve(found: FewShots) -> Iterator[list[str]]:
    for head in (HEAD, OTHER_HEAD):
        yield [head, *(mean(found.caught(NEW, head=head, shots=shots)).rjust(5) for shots in SHOTS)]


def about_nearest(nearest: Mapping[str, ClosedSet]) -> str:
    """Return the paragraph of nearest sources."""
    chance = 1 / len(next(iter(nearest.values())).names)
    right = ", ".join(f"{100 * found.accuracy:.0f} % by {backbone}" for backbone, found in nearest.items())
    return _paragraph(
        f"3. Nearest source. Taken from its nearest image of another photograph, a tile's source is right {right} "
        f"(chance: {100 * chance:.0f} %)."
    )


def about_attribution(curve: Report) -> str:
    """Return the paragraph of single-class attribution."""
    rows = [row for row in curve.where(metric="auroc", source="all") if row.fraction is not None]
    found = {head: [row for row in rows if row.head == head] for head in dict.fromkeys(row.head for row in rows)}
    shares = " / ".join(f"{100 * row.fraction:g}" for row in next(iter(found.values())) if row.fraction is not None)
    means = "; ".join(f"{head} {' / '.join(mean(row) for row in of_head)}" for head, of_head in found.items())
    return _paragraph(
        f"4. One class alone. AUROC of a model that learns natural tiles only (acm) and of a linear probe that learns "
        f"both classes, from {shares} % of the tiles: {means}."
    )


def about_audit(found: Audit) -> str:
    """Return the paragraph of the audit."""
    warnings = [_paragraph(f"{_INDENT}{warning}.") for warning in found.warnings] or [f"{_INDENT}nothing was found"]
    title = "5. Audit. What could fool a reader of these numbers:"
    return "\n".join([title, *warnings, _paragraph(f"{_INDENT}{NO_LABEL_IS_WRONG}")])


def about_detector(found: Deployed) -> str:
    """Return the paragraph of the detector."""
    described = found.detector.description
    lines = [[source, *map(str, counts)] for source, counts in found.counts.items()]
    return "\n".join(
        (
            _paragraph(
                f"6. A detector. Fitted on {described.support.natural} natural tiles and {described.support.synthetic} "
                f"of {GENERATOR!r}; {promise(described.alarm)}. Verdicts on tiles of photographs that it never saw, "
                f"generators that it was not fitted for among them:"
            ),
            "",
            _indented(text_table(["", SYNTHETIC, UNSURE, SAID_NATURAL], lines)),
        )
    )


def about_page(picture: Path, lacking: str) -> str:
    """Return the paragraph of the detector's page; ``lacking`` says why there is no picture of it."""
    if lacking:
        return _paragraph(f"7. Its page. There is no picture of it, for {lacking}; `serve` below opens it.")
    return _paragraph(f"7. Its page, with the verdict on one of these tiles: {picture}.")


def what_next(root: Path, program: str) -> str:
    """Return what to open and what to type, after what is toy about all of it."""
    commands = (
        f"{program} inspect {root / 'images.h5'}",
        f"{program} adapt {root / 'images.h5'} --shots 10 --head logistic,knn --group group",
        f"{program} nearest {root / 'images.h5'} {root / 'images' / 'spectral' / 'astronaut-00.png'} -b spectrum",
        f"{program} predict {root / 'demo.detector'} {root / 'images' / GENERATOR} --stability",
        f"{program} serve {root / 'demo.detector'}      # its page: drop a picture, read the verdict",
        f"{program} embed YOUR-IMAGES -b spectrum,efficientnet-lite0 -o yours.h5",
    )
    look = f"Open {root / 'page.html'}, {root / 'demo.png'} and {root / 'gallery.html'}. Then type:"
    return "\n".join((_wrapped(TOY), "", look, "", *(f"  {command}" for command in commands)))


def _wrapped(text: str, *, indent: str = "") -> str:
    return "\n".join(wrapped(text, indent=indent))


def _paragraph(text: str) -> str:
    return _wrapped(text, indent=_INDENT)


def _indented(table: str) -> str:
    return textwrap.indent(table, _INDENT)
