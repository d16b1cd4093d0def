"""Content credentials and EXIF of images, as evidence beside the score and never in it.

A native library reads what whoever made a file put into it, so it runs in a process of its own (``core/child.py``) with
a limit on its memory and a deadline. When it crashes or hangs, that image is unreadable and the next one goes on.
Nothing is fetched from a network: neither manifests, nor revocation lists, nor identities.
"""

import json
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from fewshot.core.child import Child
from fewshot.core.errors import FewshotError, OptionError
from fewshot.core.regular_files import read_regular

HEADING = "Provenance (not used in the score)"
MISSING = 'content credentials are read by a package that is not installed; pip install "fewshot[c2pa]" installs it'
ABSENCE = (
    "Absence proves nothing: most files carry no content credentials, and credentials and metadata are lost when an "
    "image is saved again. Nor does presence: metadata without a valid signature can be written by anyone."
)
MOST_BYTES = 1 << 20  # of what the process may say of one image
_TRUST_LIST_BYTES = 16 << 20
_START_SECONDS = 30.0
_EMPTY: dict[str, dict[str, Any]] = {
    "credentials": {
        "state": "unreadable",
        "sentence": "",
        "signer": "",
        "issuer": "",
        "trusted": False,
        "claim_generator": "",
        "source_types": [],
        "actions": [],
        "when": "",
        "problems": [],
        "remote_url": "",
    },
    "metadata": {"unreadable": "", "make": "", "model": "", "software": "", "date": "", "traces": []},
}


class Credentials:
    """The process that reads content credentials and EXIF; a context manager, and usable by several threads.

    ``evidence`` returns JSON values in this shape; every key is always there, and a text that the file lacks is empty.
    Texts of the file are on one line, without control characters, and cut at a few hundred characters::

        {
            "heading": "Provenance (not used in the score)",
            "credentials": {
                "state": "none | trusted | valid | invalid | remote | unreadable",
                "sentence": "signed by 'X' (issuer 'Y'), not in the trust list ...",   # always there
                "signer": "X",            # common name in the certificate that signed; its owner chose it
                "issuer": "Y",            # organisation in the certificate
                "trusted": False,         # whether its chain ends in the trust list and everything is intact
                "claim_generator": "toy generator 1.0",
                "source_types": [{"type": "trainedAlgorithmicMedia", "meaning": "made by ...", "of": "this image"}],
                "actions": [{"action": "c2pa.created", "when": "2026-11-01T00:00:00Z", "software": "toy"}],
                "when": "2026-11-01T00:00:00Z",   # of the signature's time stamp, else of the last action
                "problems": ["assertion.dataHash.mismatch: ..."],   # what does not hold; not of trust
                "remote_url": "https://...",      # where a manifest is said to lie; it is not fetched
            },
            "metadata": {
                "unreadable": "",                 # or "unreadable: ..."
                "make": "", "model": "", "software": "", "date": "",        # EXIF
                "traces": [{"where": "PNG text 'parameters'", "says": "a cat, Steps: 20 ..."}],
            },
            "sentences": ["...", ...],    # all of it as lines to show, the first on content credentials
            "absence": "Absence proves nothing: ...",
        }

    ``of`` is ``this image`` or ``an ingredient`` (an image that this one was made from).

    Args:
        trust_list: PEM file of root certificates whose signers are trusted; none is shipped, and without one no signer
            is trusted.
        seconds: what one image may take; memory_bytes: what the process may allocate.
    """

    def __init__(
        self, *, trust_list: Path | None = None, seconds: float = 20.0, memory_bytes: int = 2 << 30
    ) -> None:
        self.trust_list = trust_list
        self.seconds = seconds
        self.memory_bytes = memory_bytes
        self._anchors = ""
        self._child: Child | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Start the process.

        Raises:
            OptionError: the package is not installed, or the trust list is no PEM file of certificates.
            FewshotError: the process ends at its start.
        """
        raise NotImplementedError

    def __exit__(self, *_: object) -> None:
        raise NotImplementedError

    def evidence(self, path: Path) -> dict[str, Any]:
        """Return what a file says of its origin; whatever goes wrong is said in the result, and nothing is raised."""
        raise NotImplementedError
