"""What is known of a backbone without its weights: the card, its weight files, and random weights in their place.

Facts only: no torch, no file is opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fewshot.embeddings.inputs.rule import InputRule

Equality = Literal["golden", "code-equivalent", "unverified"]
RANDOM = "random"


@dataclass(frozen=True)
class WeightFile:
    """One file that a backbone needs, and where it comes from.

    Args:
        file: its name in the cache folder.
        part: which part of the network it fills; ``"net"`` where there is one file only.
        url: the official plain address; mirrors: other addresses of the same bytes.
        repository: the Hugging Face repository, ``owner/name``; hub_file: the path in it (``file`` when empty).
        package: an installed Python package that holds the file; package_file: the path in it.
        licence: of the weights; non_commercial: whether that licence forbids commercial use.
        size: bytes, where known; sha256: hex digits, all 64 or as many as are known, empty when unknown.
        md5: hex digits where only that is published.
        optional: whether the backbone also works without it (then the layers it gives are missing).
        manual: what to do by hand where the file sits behind a form or a drive.
        path: where it lies, for a file of the user's own.
    """

    file: str
    part: str = "net"
    url: str = ""
    mirrors: tuple[str, ...] = ()
    repository: str = ""
    hub_file: str = ""
    package: str = ""
    package_file: str = ""
    licence: str = ""
    non_commercial: bool = False
    size: int | None = None
    sha256: str = ""
    md5: str = ""
    optional: bool = False
    manual: str = ""
    path: str = ""

    @property
    def source(self) -> str:
        """Where the file comes from, in words."""
        if self.package:
            return f"package {self.package}"
        if self.repository:
            return f"hf:{self.repository}/{self.hub_file or self.file}"
        return self.url or self.manual or "no public address"


@dataclass(frozen=True)
class RandomWeights:
    """Seeded random weights in place of a file, for tests and benchmarks; written into the provenance.

    Each tensor is drawn from its own generator, seeded with crc32(prefix + key), so the values depend on no
    construction order (``fill_seeded``).
    """

    prefix: str = ""
    weight_gain: float = 1.0
    bias_gain: float = 1.0

    def __str__(self) -> str:
        if self == RandomWeights():
            return RANDOM
        return f"random(prefix={self.prefix!r}, weight_gain={self.weight_gain:g}, bias_gain={self.bias_gain:g})"


PartWeights = Path | RandomWeights
Weights = Mapping[str, PartWeights] | RandomWeights


@dataclass(frozen=True)
class BackboneCard:
    """Facts of a backbone known without its weights.

    Args:
        name: id as users type it, with the variant where one is chosen, for example ``"npr:crop224"``.
        layers: feature layer -> dimension, without the reserved ``logit``.
        layer: the default layer, used when selection is ``fixed``.
        input: the input rule.
        weights: the files it needs, each with where it comes from; empty when it has none to load.
        has_logit: whether a checkpoint's own head gives the reserved layer ``logit`` (N, 1), larger = synthetic.
        equality: how the equality of this very variant with the authors' code is known: a recording of theirs, an
            independent second writing in our tests, or not at all.
        batch: the largest batch for which a row depends on its own image only (None: any); 1 for LGrad.
        parameters: number of parameters; gflops: 2 x multiply-adds of one image, forward.
        paper, reference, licence: citation; repository @ commit; licence of code and weights.
        note: what a user must know, in one sentence.
    """

    name: str
    layers: Mapping[str, int]
    layer: str
    input: InputRule
    weights: tuple[WeightFile, ...] = ()
    has_logit: bool = False
    equality: Equality = "unverified"
    batch: int | None = None
    parameters: int | None = None
    gflops: float | None = None
    paper: str = ""
    reference: str = ""
    licence: str = ""
    note: str = ""
