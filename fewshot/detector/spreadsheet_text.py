"""Texts of others in CSV files, kept from being what a spreadsheet computes (OWASP, CSV injection)."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def shown_text(value: str) -> str:
    """Return a text that a spreadsheet shows as it is.

    >>> shown_text("=1+1"), shown_text("sd3")
    ("'=1+1", 'sd3')
    """
    return f"'{value}" if value.startswith(_FORMULA) else value


def shown_path(value: str) -> str:
    """Return a path that a spreadsheet shows and that a program takes for the same.

    >>> shown_path("-a.png"), shown_path("a.png")
    ('./-a.png', 'a.png')
    """
    return f"./{value}" if value.startswith(_FORMULA) else value
