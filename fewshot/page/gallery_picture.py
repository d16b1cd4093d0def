"""Draw a gallery as one picture, a line of thumbnails per query."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from fewshot.core.control_characters import escape_control
from fewshot.page.tile import APART, COLOURS, SIDE, Tile

_GAP, _LINES, _LINE = 10, 4, 15


def picture(queries: Sequence[Sequence[Tile]], title: str, note: str) -> Image.Image:
    """Return the picture.

    Args:
        queries: the tiles of each line.
        title, note: what stands above them.
    """
    across, down = SIDE + _GAP, SIDE + _LINES * _LINE + 2 * _GAP
    head = 3 * _LINE + _GAP
    width = max(640, across * max((len(tiles) for tiles in queries), default=1) + _GAP + APART)
    canvas = Image.new("RGB", (width, head + down * len(queries)), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((_GAP, _GAP), title, fill="black", font=ImageFont.load_default(15))
    pen.text((_GAP, _GAP + 1.5 * _LINE), escape_control(note), fill="#444", font=ImageFont.load_default(11))
    for row, tiles in enumerate(queries):
        for column, tile in enumerate(tiles):
            left = _GAP + column * across + (APART if column else 0)
            _draw(canvas, pen, tile, left, head + row * down)
    return canvas


def _draw(canvas: Image.Image, pen: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    image = tile.thumbnail
    if image is None:
        pen.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill="#e6e6e6")
    else:
        canvas.paste(image, (left + (SIDE - image.width) // 2, top + SIDE - image.height))
    pen.rectangle((left, top + SIDE, left + SIDE - 1, top + SIDE + 3), fill=COLOURS[tile.kind])
    font = ImageFont.load_default(11)
    for number, text in enumerate(map(escape_control, tile.lines)):
        while text and pen.textlength(text, font=font) > SIDE:
            text = text.removesuffix("…")[:-1] + "…"
        pen.text((left, top + SIDE + 6 + number * _LINE), text, fill="black", font=font)
