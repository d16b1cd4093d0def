"""A gallery to look at: every query beside its nearest images, as one HTML page or one PNG picture."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fewshot.core.errors import OptionError
from fewshot.core.files import atomic_write, write_text
from fewshot.embeddings.inputs.images import UnreadableImage, open_image
from fewshot.embeddings.search.lookup import Finding
from fewshot.embeddings.search.neighbours import spoken_score

SIDE = 144  # pixels of a thumbnail
MOST_QUERIES = 100
_GAP, _APART, _LINES, _LINE = 10, 24, 4, 15
_RIGHT, _WRONG, _NEUTRAL = "#2a7f4f", "#b3452c", "#8a8f98"
_STYLE = f"""
.gallery {{ display: grid; gap: 1.2rem; }}
.query {{ display: flex; flex-wrap: wrap; gap: .7rem; align-items: flex-start; }}
.query figure {{ width: {SIDE}px; margin: 0; padding: 0; border: 0; font-size: .78rem; overflow-wrap: anywhere; }}
.query figure:first-child {{ margin-right: {_APART}px; }}
.query img, .query .none {{ width: {SIDE}px; height: {SIDE}px; object-fit: contain; background: #8882; display: block;
  border-bottom: 4px solid {_NEUTRAL}; box-sizing: border-box; }}
.query .right > * {{ border-color: {_RIGHT}; }}
.query .wrong > * {{ border-color: {_WRONG}; }}
"""


@dataclass(frozen=True)
class Shown:
    """One query of a gallery.

    Args:
        finding: the answer.
        file: where the query's image lies; None when it is not on this machine.
        evidence: where the nearest images lie, in the order of ``finding.neighbours``.
        truth: the query's true source; None when it is not known.
    """

    finding: Finding
    file: Path | None
    evidence: Sequence[Path | None]
    truth: str | None = None


@dataclass(frozen=True)
class _Tile:
    file: Path | None
    lines: tuple[str, ...]
    colour: str


def write_gallery(queries: Sequence[Shown], path: Path | str, *, title: str, note: str = "") -> Path:
    """Write a gallery; the suffix of ``path`` chooses HTML (self-contained) or PNG.

    Args:
        queries: what is shown, a line each; the first ``MOST_QUERIES`` of them.
        title, note: heading, and a sentence below it.

    Raises:
        OptionError: another suffix.
        OutputError: the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".png"):
        raise OptionError(f"a gallery is written as .html or .png, not {target.name!r}")
    shown = queries[:MOST_QUERIES]
    if len(queries) > len(shown):
        note = f"{note} The first {len(shown)} of {len(queries)} queries are shown.".strip()
    if target.suffix.lower() == ".html":
        return write_text(target, _page(shown, title, note), option="--gallery")
    with atomic_write(target, option="--gallery") as stream:
        _picture(shown, title, note).save(stream, "PNG", optimize=True)
    return target


def _tiles(shown: Shown) -> Iterator[_Tile]:
    """Yield the query's own tile, then its neighbours'; colours say whether the source is the true one."""
    finding = shown.finding
    said = f"unknown (like {finding.source})" if finding.unknown else finding.source
    p_value = "" if finding.p_value is None else f", p {finding.p_value:.3f}"
    truth = () if shown.truth is None else (f"is {shown.truth}",)
    lines = (Path(finding.image).name, *truth, f"said {said}", f"share {finding.sources[0].share:.2f}{p_value}")
    yield _Tile(shown.file, lines, _colour(finding.source, shown.truth))
    for near, file in zip(finding.neighbours, shown.evidence, strict=True):
        lines = (near.source, spoken_score(near.score), Path(near.key).name)
        yield _Tile(file, lines, _colour(near.source, shown.truth))


def _colour(source: str, truth: str | None) -> str:
    if truth is None:
        return _NEUTRAL
    return _RIGHT if source == truth else _WRONG


def _thumbnail(file: Path | None) -> Image.Image | None:
    """Return the image within ``SIDE`` pixels, None when it cannot be read (any more)."""
    if file is None:
        return None
    try:
        image = open_image(file.read_bytes()).convert("RGB")
    except (OSError, UnreadableImage):
        return None
    small: Image.Image = image.copy()
    small.thumbnail((SIDE, SIDE))
    return small


# -- HTML ----------------------------------------------------------------------------------------------------------


def _page(queries: Sequence[Shown], title: str, note: str) -> str:
    style = files("fewshot.page").joinpath("style.css").read_text("utf-8") + _STYLE
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    lines = "".join(f'<div class="query">{"".join(map(_figure, _tiles(query)))}</div>' for query in queries)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head><body><main>"
        f"<header><h1>{escape(title)}</h1><p>{escape(note)}</p></header>"
        f'<section class="gallery">{lines}</section></main></body></html>\n'
    )


def _figure(tile: _Tile) -> str:
    kind = {_RIGHT: "right", _WRONG: "wrong"}.get(tile.colour, "neutral")
    image = _thumbnail(tile.file)
    drawn = '<div class="none"></div>' if image is None else f'<img alt="{escape(tile.lines[0])}" src="{_data(image)}">'
    caption = "<br>".join(escape(line) for line in tile.lines)
    return f'<figure class="{kind}">{drawn}<figcaption>{caption}</figcaption></figure>'


def _data(image: Image.Image) -> str:
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()


# -- PNG -----------------------------------------------------------------------------------------------------------


def _picture(queries: Sequence[Shown], title: str, note: str) -> Image.Image:
    lines = [list(_tiles(query)) for query in queries]
    across, down = SIDE + _GAP, SIDE + _LINES * _LINE + 2 * _GAP
    head = 3 * _LINE + _GAP
    width = max(640, across * max((len(tiles) for tiles in lines), default=1) + _GAP + _APART)
    canvas = Image.new("RGB", (width, head + down * len(lines)), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((_GAP, _GAP), title, fill="black", font=ImageFont.load_default(15))
    pen.text((_GAP, _GAP + 1.5 * _LINE), note, fill="#444", font=ImageFont.load_default(11))
    for row, tiles in enumerate(lines):
        for column, tile in enumerate(tiles):
            left = _GAP + column * across + (_APART if column else 0)
            _draw(canvas, pen, tile, left, head + row * down)
    return canvas


def _draw(canvas: Image.Image, pen: ImageDraw.ImageDraw, tile: _Tile, left: int, top: int) -> None:
    image = _thumbnail(tile.file)
    if image is None:
        pen.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill="#e6e6e6")
    else:
        canvas.paste(image, (left + (SIDE - image.width) // 2, top + SIDE - image.height))
    pen.rectangle((left, top + SIDE, left + SIDE - 1, top + SIDE + 3), fill=tile.colour)
    font = ImageFont.load_default(11)
    for number, text in enumerate(tile.lines):
        while text and pen.textlength(text, font=font) > SIDE:
            text = text.removesuffix("…")[:-1] + "…"
        pen.text((left, top + SIDE + 6 + number * _LINE), text, fill="black", font=font)
