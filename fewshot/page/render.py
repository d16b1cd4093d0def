"""Fill the templates of the pages; everything that they are given is escaped. The only module that imports jinja2."""

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fewshot.core.control_characters import escape_lines


def render(template: str, *, title: str, script: str = "", **values: Any) -> str:
    """Return a page that is one file, whose policy lets the browser load nothing and run only the page's own script.

    Args:
        template: a file of ``templates`` that extends ``base.html``.
        title: of the window, and the heading.
        script: a file of ``templates``; empty for none.
        values: what the template names.
    """
    page = _environment().get_template(template)
    return page.render(title=title, script=script, script_hash=_hash(script), **values) + "\n"


def data_address(content: bytes, *, kind: str) -> str:
    """Return an address that holds the content itself.

    Args:
        kind: media type, for example ``text/csv``.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _hash(script: str) -> str:
    """Return the base64 of the SHA-256 by which a browser knows the page's own script; empty for none."""
    if not script:
        return ""
    text = _environment().get_template(script).render()
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _shown(value: Any) -> Any:
    """Return a value for a page: text without marks of direction and other signs that cannot be seen."""
    return escape_lines(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


@cache
def _environment() -> Environment:
    """Return the templates; ``lstrip_blocks`` and ``trim_blocks`` keep their tags from leaving blank lines."""
    return Environment(
        loader=PackageLoader("fewshot.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
