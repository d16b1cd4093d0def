"""Content credentials and EXIF of images, as evidence beside the score and never in it.

A native library reads what whoever made a file put into it, so it runs in a process of its own (``core/child.py``) with
a limit on its memory and a deadline. When it crashes or hangs, that image is unreadable and the next one goes on.
Nothing is fetched from a network: neither manifests, nor revocation lists, nor identities.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
_CREDENTIALS = {
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
}
_METADATA = {"unreadable": "", "make": "", "model": "", "software": "", "date": "", "traces": []}


class Credentials:
    """The process that reads content credentials and EXIF; a context manager, and usable by several threads.

    ``evidence`` returns JSON values in this shape; every key is always there, and a text that the file lacks is empty.
    Texts of the file are on one line, without control characters, and cut at a few hundred characters::

        {
            "heading": "Provenance (not used in the score)",
            "credentials": {
                "state": "none | trusted | valid | invalid | remote | unreadable",
                "sentence": 'content credentials signed by "X" (issuer "Y"), not in the trust list ...',
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

    def __init__(self, *, trust_list: Path | None = None, seconds: float = 20.0, memory_bytes: int = 2 << 30) -> None:
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
        if find_spec("c2pa") is None:
            raise OptionError(MISSING)
        self._anchors = _certificates(self.trust_list) if self.trust_list is not None else ""
        try:
            self._child = self._started()
        except _Ended as error:
            raise FewshotError(
                f"the process that reads content credentials {error}; its message is above. Leave --c2pa out, or "
                f"install the package again: pip install --force-reinstall c2pa-python"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._child is not None:
                self._child.close()
            self._child = None

    def evidence(self, path: Path) -> dict[str, Any]:
        """Return what a file says of its origin; whatever goes wrong is said in the result, and nothing is raised."""
        with self._lock:
            metadata, credentials = self._answers(path)
        credentials, metadata = _shaped(_CREDENTIALS, credentials), _shaped(_METADATA, metadata)
        return {
            "heading": HEADING,
            "credentials": credentials,
            "metadata": metadata,
            "sentences": list(_sentences(credentials, metadata)),
            "absence": ABSENCE,
        }

    def _answers(self, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the metadata and the credentials of a file; a process that fails at it is replaced for the next."""
        metadata: dict[str, Any] | None = None
        try:
            child = self._child = self._child or self._started()
            _send(child, {"path": os.fspath(path)})
            until = time.monotonic() + self.seconds
            metadata = self._received(child, until)
            return metadata, self._received(child, until)
        except _Ended as error:
            self._child = None
            failure = f"unreadable: the process that reads it {error}"
            return metadata or {"unreadable": failure}, {"sentence": failure}

    def _started(self) -> Child:
        child = Child("fewshot.detector.credentials_worker", "serve")
        child.limit_transfers(self.seconds)
        _send(child, {"anchors": self._anchors, "memory_bytes": self.memory_bytes})
        self._received(child, time.monotonic() + max(self.seconds, _START_SECONDS))
        return child

    def _received(self, child: Child, until: float) -> dict[str, Any]:
        """Return the next message: JSON and never a pickle, for a file may have taken the process over."""
        try:
            if child.connection.poll(max(0.0, until - time.monotonic())):
                answer = json.loads(child.connection.recv_bytes(MOST_BYTES))
                if isinstance(answer, dict):
                    return answer
        except (EOFError, ConnectionError) as error:
            child.close()
            raise _Ended(f"ended ({child.ending})") from error
        except (OSError, ValueError) as error:
            _kill(child)
            raise _Ended("does not answer as it should") from error
        _kill(child)
        raise _Ended(f"took more than {self.seconds:g} s")


class _Ended(Exception):
    """The process is gone; the text says why, as the end of a sentence."""


def _send(child: Child, message: dict[str, Any]) -> None:
    with suppress(OSError):  # one that died meanwhile is noticed by whoever reads from it
        child.connection.send_bytes(json.dumps(message).encode())


def _kill(child: Child) -> None:
    child.kill()
    child.close()


def _certificates(path: Path) -> str:
    """Return a PEM file of certificates.

    Raises:
        OptionError: it cannot be read, or holds none.
    """
    from cryptography.x509 import load_pem_x509_certificates  # c2pa-python depends on it

    try:
        content = read_regular(path, limit=_TRUST_LIST_BYTES)
        load_pem_x509_certificates(content)
        return content.decode("ascii")
    except OSError as error:
        raise OptionError(f"the trust list {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise OptionError(
            f"the trust list {path} is no PEM file of certificates ({error}); give one whose certificates begin with "
            f"-----BEGIN CERTIFICATE-----"
        ) from error


def _shaped(empty: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was found in the declared shape; what is of another type is as if it were not there."""
    return {name: found[name] if type(found.get(name)) is type(value) else value for name, value in empty.items()}


def _sentences(credentials: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[str]:
    said = f"{credentials['sentence']}."
    yield f"Content credentials {said}" if credentials["state"] == "unreadable" else said[0].upper() + said[1:]
    for one in credentials["source_types"]:
        meaning = f", that is {one['meaning']}" if one["meaning"] else ""
        yield f"The credentials say of {one['of']}: {one['type']}{meaning}."
    if metadata["unreadable"]:
        yield f"Metadata {metadata['unreadable']}."
    camera = " ".join(part for part in (metadata["make"], metadata["model"]) if part)
    if camera or metadata["date"]:
        yield f"EXIF says of itself: camera {camera or 'not named'}, date {metadata['date'] or 'not given'}."
    for trace in metadata["traces"]:
        yield f"{trace['where']} says of itself: {trace['says']}"
