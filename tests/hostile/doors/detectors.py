"""A detector file: the archive as it is, and each of its members damaged inside an archive whose digest is right."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from fewshot.core.errors import FewshotError
from fewshot.detector.archive import pack, unpack
from fewshot.detector.detector import Detector
from fewshot.detector.summary import lines, to_json
from tests.detector.made_detectors import detector

_DIGEST = 64
_WHOLE = "whole.detector"


@cache
def _sound() -> bytes:
    return detector(naturals=30, synthetics=10, support=3, max_false_alarms=0.1, thumbnails=True).to_bytes()


def originals(folder: Path) -> list[Path]:
    """The file itself, and a file of each member's content, called by its place among them."""
    members = unpack(_sound(), where="the sound one")
    files = {_WHOLE: _sound(), **{f"{number}.member": members[name] for number, name in enumerate(sorted(members))}}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def enter(path: Path) -> None:
    content = path.read_bytes()
    if path.name == _WHOLE:
        _refused_or_used(content)
        content = _resealed(content)
    else:
        members = unpack(_sound(), where="the sound one")
        content = pack({**members, sorted(members)[int(path.stem)]: content})
    _use(Detector.from_bytes(content, where=path.name))


def _resealed(content: bytes) -> bytes:
    """A forger can make the digest that of any bytes."""
    body = content[:-_DIGEST]
    return body + hashlib.sha256(body).hexdigest().encode()


def _refused_or_used(content: bytes) -> None:
    try:
        found = Detector.from_bytes(content, where=_WHOLE)
    except FewshotError:
        return
    _use(found)


def _use(found: Detector) -> None:
    """Do what commands do with a file that was taken."""
    features = {
        (layer.backbone, layer.layer, layer.view): np.ones((2, layer.dimension), np.float32) for layer in found.layers
    }
    with np.errstate(all="ignore"):
        judgements = found.judge(features, ["", str(found.images.ids[0])])
    assert [judgement.to_json()["verdict"] for judgement in judgements]
    assert lines(found)
    assert to_json(found)
    found.to_bytes()
