"""The SHA-256 of weight files whose published hash is unknown, kept beside them from their first use on."""

import json
from contextlib import suppress
from pathlib import Path

from fewshot.core.errors import OutputError, WeightsError
from fewshot.core.files import write_text
from fewshot.core.outputs import PINNED
from fewshot.core.regular_files import read_regular

PINS = "pins.json"
_MOST_BYTES = 1 << 20


def pins_of(folder: Path) -> dict[str, str]:
    """Return {file name: SHA-256} of the files pinned in a folder.

    Raises:
        WeightsError: the pins are there and cannot be read; passing them over would pin whatever lies there now.
    """
    import msgspec

    path = folder / PINS
    try:
        return msgspec.json.decode(read_regular(path, limit=_MOST_BYTES), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise WeightsError(
            f"{path}, which holds the SHA-256 of weight files at first use, cannot be read ({why}); put it right, or "
            f"delete it if you trust the files beside it"
        ) from error


def pin_file(path: Path, digest: str) -> None:
    """Record the digest beside the file; a folder that cannot be written to keeps no pins."""
    pins = {**pins_of(path.parent), path.name: digest}
    with suppress(OutputError):
        write_text(path.parent / PINS, json.dumps(pins, indent=1, sort_keys=True), kind=PINNED)
