"""Names of others as names of files: no name leaves its folder, meets another one, or means a device.

Whoever makes a path from a name that a store, a report, an archive or a table brings gets its last part here.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

MOST_BYTES = 200  # file systems take 255; suffixes and temporary names need some of them
_ALWAYS = '%/\\:*?"<>|@'  # what parts or marks a path on some system, and our own marks
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)", re.IGNORECASE)


def path_name(name: str, *, keep: str = "") -> str:
    """Return ``name`` as the name of one file or folder that every common system takes, the same every time.

    Letters, digits and most signs stay. Separators, signs that Windows forbids and what cannot be printed become
    ``%XX``, as do a blank or dot at the end, the first letter of a Windows device, and an empty name (``%``). A name of
    more than ``MOST_BYTES`` bytes ends in a digest of it.

    Args:
        name: any text.
        keep: signs that need no escape here.

    >>> path_name("blocks.1/cls"), path_name(".."), path_name("CON"), path_name("a:b", keep=":")
    ('blocks.1%2Fcls', '.%2E', '%43ON', 'a:b')
    """
    found = "".join(_escaped(one) if _unsafe(one, keep) else one for one in name)
    if found.endswith((".", " ")):
        found = found[:-1] + _escaped(found[-1])
    if _DEVICES.match(found):
        found = _escaped(found[0]) + found[1:]
    return _shortened(found, name) or "%"


def distinct_path_names(names: Iterable[str], *, taken: Iterable[str] = (), keep: str = "") -> dict[str, str]:
    """Return {name: its ``path_name``}, with a number behind one that differs from another in case or accents alone.

    Args:
        names: the names of one folder.
        taken: names in that folder that are given already.
        keep: as for ``path_name``.
    """
    used = {_folded(name) for name in taken}
    found = {}
    for name in dict.fromkeys(names):
        base = candidate = path_name(name, keep=keep)
        number = 2
        while _folded(candidate) in used:
            candidate, number = f"{base}%{number}", number + 1
        used.add(_folded(candidate))
        found[name] = candidate
    return found


def _unsafe(character: str, keep: str) -> bool:
    return (character in _ALWAYS and character not in keep) or not character.isprintable()


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _shortened(found: str, name: str) -> str:
    encoded = found.encode("utf-8")
    if len(encoded) <= MOST_BYTES:
        return found
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{encoded[: MOST_BYTES - len(digest) - 1].decode('utf-8', 'ignore')}%{digest}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
