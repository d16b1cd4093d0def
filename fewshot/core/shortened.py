"""Names and paths that are too long for a line, without what can be spared of them."""

_GAP = "..."  # ASCII, for it is as wide on every terminal
LONGEST_SOURCE = 32  # characters of a source in tables


def shortened(name: str, *, most: int) -> str:
    """Return a path of at most ``most`` characters: its middle is left out, its file name kept where that fits.

    >>> shortened("data/natural/imagenet/validation/0001.jpg", most=30)
    'data/natural/ima.../0001.jpg'
    >>> shortened("a-file-with-a-very-long-name.png", most=20)
    'a-file-wi...name.png'
    """
    if len(name) <= most:
        return name
    kept = name.rpartition("/")[1] + name.rpartition("/")[2]
    if len(kept) < len(name) and len(_GAP) + len(kept) < most:
        return name[: most - len(_GAP) - len(kept)] + _GAP + kept
    return cut(name, most=most, front=0.5)


def cut(name: str, *, most: int, front: float) -> str:
    """Return a name of at most ``most`` characters; of those kept, ``front`` of all stand before what is left out."""
    if len(name) <= most:
        return name
    room = most - len(_GAP)
    before = round(front * room + 0.01)
    return name[:before] + _GAP + name[len(name) - (room - before) :]
