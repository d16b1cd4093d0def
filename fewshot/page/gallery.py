"""A gallery to look at: every query beside its nearest images, as an HTML page or a PNG picture."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL.PngImagePlugin import PngInfo

from fewshot.core.errors import OptionError
from fewshot.core.files import atomic_write, write_text
from fewshot.core.outputs import PAGE, PNG, FileKind
from fewshot.embeddings.search.lookup import Finding
from fewshot.embeddings.search.neighbours import spoken_score
from fewshot.page.gallery_picture import picture
from fewshot.page.render import render
from fewshot.page.tile import APART, COLOURS, SIDE, Kind, Tile

MOST_QUERIES = 100
_EDGES = "Green edge: of the source that the query has; red edge: of another. Numbers: cosine."


@dataclass(frozen=True)
class Shown:
    """One query of a gallery.

    Args:
        finding: the answer.
        file: where the query's image lies; None when it is not on this machine.
        evidence: where the nearest images lie, in the order of ``finding.neighbours``.
        truth: the query's true source; None when it is not known.
        said: further lines below the query.
        pictures: small pictures of the nearest images, for where a file is not there; empty for none of them.
    """

    finding: Finding
    file: Path | None
    evidence: Sequence[Path | None]
    truth: str | None = None
    said: tuple[str, ...] = ()
    pictures: Sequence[bytes] = ()


def write_gallery(
    queries: Sequence[Shown],
    path: Path | str,
    *,
    title: str,
    note: str = "",
    warn: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write a gallery; the suffix of ``path`` chooses HTML (self-contained) or PNG.

    Args:
        queries: what is shown, a line each; the first ``MOST_QUERIES`` of them.
        title, note: heading, and a sentence below it.
        warn: is given a sentence where pictures cannot be shown, which then stands in the gallery too.

    Raises:
        OptionError: another suffix.
        OutputError: the file cannot be written.
    """
    target = Path(path)
    kind = gallery_kind(target)
    shown = [tuple(_tiles(query)) for query in queries[:MOST_QUERIES]]
    if len(queries) > len(shown):
        note = f"{note} The first {len(shown)} of {len(queries)} queries are shown.".strip()
    if missing := _missing(shown):
        note = f"{note} {missing}".strip()
        warn(missing)
    if kind is PAGE:
        if any(query.truth is not None for query in queries):
            note = f"{note} {_EDGES}".strip()
        page = render("gallery.html", title=title, note=note, queries=shown, side=SIDE, apart=APART, colours=COLOURS)
        return write_text(target, page, option="--gallery", kind=PAGE)
    marked = PngInfo()
    marked.add_text("Software", "fewshot")
    with atomic_write(target, option="--gallery", kind=PNG) as stream:
        picture(shown, title, note).save(stream, "PNG", optimize=True, pnginfo=marked)
    return target


def gallery_kind(path: Path) -> FileKind:
    """Return what a gallery of this name is written as.

    Raises:
        OptionError: another suffix than .html and .png.
    """
    kind = {".html": PAGE, ".png": PNG}.get(path.suffix.lower())
    if kind is None:
        raise OptionError(f"a gallery is written as .html or .png, not {path.name!r}")
    return kind


def _missing(lines: Sequence[Sequence[Tile]]) -> str:
    """Return the sentence about pictures that cannot be shown, empty where all can."""
    tiles = [tile for line in lines for tile in line]
    absent = sum(tile.thumbnail is None for tile in tiles)
    return f"{absent} of {len(tiles)} pictures cannot be shown, for no file of them is at hand." if absent else ""


def _tiles(shown: Shown) -> Iterator[Tile]:
    """Yield the query's own tile, then those of its nearest images."""
    finding = shown.finding
    answer = f"{'unknown, ' if finding.unknown else ''}like {finding.source}"
    p_value = "" if finding.p_value is None else f", p {finding.p_value:.3f}"
    truth = () if shown.truth is None else (f"is {shown.truth}",)
    share = f"share {finding.sources[0].share:.2f}{p_value}"
    yield Tile(
        shown.file,
        (Path(finding.image).name, *shown.said, *truth, answer, share),
        _kind(finding.source, shown.truth),
    )
    pictures = shown.pictures or [b""] * len(finding.neighbours)
    for near, file, small in zip(finding.neighbours, shown.evidence, pictures, strict=True):
        lines = (near.source, spoken_score(near.score), Path(near.key).name)
        yield Tile(file, lines, _kind(near.source, shown.truth), small)


def _kind(source: str, truth: str | None) -> Kind:
    if truth is None:
        return "neutral"
    return "right" if source == truth else "wrong"
