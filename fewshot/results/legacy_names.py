"""Names that reports and scores on disk carry from earlier versions, read as what they are called now."""

from fewshot.results.row import PRETRAINED

_HEADS = {"shipped": PRETRAINED}
_HELD_OUT = ", carved", ", held-out"


def head_of_today(name: str) -> str:
    """Return what a head's name in a saved report is called now.

    >>> head_of_today("shipped"), head_of_today("acm:natural, carved"), head_of_today("svm")
    ('pretrained', 'acm:natural, held-out', 'svm')
    """
    old, new = _HELD_OUT
    return name.removesuffix(old) + new if name.endswith(old) else _HEADS.get(name, name)


def entry_of_today(name: str) -> str:
    """Return what a support or an array of scores, whose name says of which head it is, is called now.

    >>> entry_of_today("acm:natural, carved 10% trial 0"), entry_of_today("scores | acm:natural, carved | 0.1 | 0")
    ('acm:natural, held-out 10% trial 0', 'scores | acm:natural, held-out | 0.1 | 0')
    """
    old, new = _HELD_OUT
    return name.replace(f"{old} ", f"{new} ")
