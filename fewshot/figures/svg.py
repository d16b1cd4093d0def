"""Make matplotlib's SVG light enough for a page: fewer digits, no ids that nothing refers to, styles said once."""

import re

_TAG = re.compile(r"<[^>]*>")
_NUMBER = re.compile(r"\d+\.\d+")
_PATH = re.compile(r' d="([^"]*)"')
_ID = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'(?:href="|url\()#([^")]+)')
# A scatter writes every point as a group of its own, and a line with markers every marker with its style.
_POINTS = re.compile(r'(?:<g clip-path="[^"]*"><use [^>]*/></g>){2,}')
_MARKERS = re.compile(r"(?:<use [^>]*/>){2,}")
_USE = re.compile(r"<use [^>]*/>")
_CLIP = re.compile(r'<g( clip-path="[^"]*")>')
_STYLE = re.compile(r' style="([^"]*)"')


def lightened(text: str) -> str:
    """Return an ``<svg>`` element that looks the same and is about half as long.

    Args:
        text: as matplotlib writes it, with real text.
    """
    referred = set(_REFERENCE.findall(text))
    text = re.sub(r">\s+<", "><", _TAG.sub(lambda found: _short_tag(found[0], referred), text))
    text = _POINTS.sub(lambda found: _one_group(found[0], "".join(set(_CLIP.findall(found[0])))), text)
    return _MARKERS.sub(lambda found: _one_group(found[0], ""), text)


def _short_tag(tag: str, referred: set[str]) -> str:
    tag = _ID.sub(lambda found: found[0] if found[1] in referred else "", tag)
    tag = re.sub(r"\s+", " ", tag).replace("xlink:href=", "href=")
    tag = _NUMBER.sub(lambda found: _short_number(found[0]), tag)
    return _PATH.sub(lambda found: f' d="{_short_path(found[1])}"', tag)


def _short_number(number: str) -> str:
    """Return a number of points with a hundredth, or a tenth where it is large: a screen shows no less."""
    digits = 1 if len(number.partition(".")[0]) > 1 else 2
    return f"{float(number):.{digits}f}".rstrip("0").rstrip(".")


def _short_path(path: str) -> str:
    return re.sub(r" ?([A-Za-z]) ?", r"\1", path.strip())


def _one_group(points: str, clip: str) -> str:
    """Return points of one style as one group that has it; others as they were."""
    uses = _USE.findall(points)
    styles = {style for use in uses for style in _STYLE.findall(use)}
    if len(styles) != 1 or clip.count("clip-path") > 1:
        return points
    return f'<g{clip} style="{styles.pop()}">{"".join(_STYLE.sub("", use) for use in uses)}</g>'
