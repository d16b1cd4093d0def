"""Names and paths that are too long for a line, without what can be spared of them."""

_GAP = "..."


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
    front = (most - len(_GAP) + 1) // 2
    return name[:front] + _GAP + name[len(name) - (most - len(_GAP) - front) :]
