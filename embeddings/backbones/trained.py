"""A weight file of ours as a backbone: the network of a registered one, with values and a head of its own.

The file is safetensors; its header holds the reference (which network, which layers, which input rule, whose licence),
so that ``-b ./mine.safetensors`` is enough. Tensors are named ``network.KEY`` after the base's own, and ``head.weight``
(1, D) and ``head.bias`` (1,) where there is a linear head.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from torch import Tensor, nn

from fewshot.core.errors import OptionError, OutputError, WeightsError
from fewshot.core.names import LINE_BYTES, line_fault
from fewshot.core.regular_files import require_regular
from fewshot.embeddings.backbones.base import BACKBONES, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule, rule_from_json
from fewshot.embeddings.layer_key import LOGIT
from fewshot.embeddings.reference import BackboneReference
from fewshot.embeddings.weights.checkpoint import State
from fewshot.embeddings.weights.tensors import write_tensors

SUFFIX = ".safetensors"
_HEADER = "fewshot"
_HEADER_SHA256 = "fewshot_sha256"  # of that text; older files have none
_MOST_HEADER_BYTES = 1 << 20
_NETWORK, _HEAD = "network", "head"


@final
class Trained(Backbone):
    """The network that a weight file's header names, filled from that file.

    Args:
        reference: the header's.
        base: the unloaded backbone whose network it is.
        file: the weight file.
        layers: the layers wanted; all that the file gives when None.
    """

    name: ClassVar[str] = "trained"

    def __init__(
        self, reference: BackboneReference, base: Backbone, file: Path, *, layers: tuple[str, ...] | None = None
    ) -> None:
        self.reference_of_file = reference
        self.base = base
        self.file = file
        super().__init__(None, layers=layers)

    @classmethod
    def of_file(cls, file: Path, *, layers: tuple[str, ...] | None = None) -> Self:
        """Return the unloaded backbone of a weight file.

        Raises:
            WeightsError: no such file, or one without our header.
            UnknownNameError: a base or layer that is not there.
        """
        reference = read_reference(file)
        _require_consistent(reference, file)
        name, _, variant = reference.base.partition(":")
        member: type[Backbone] = BACKBONES.load(name)
        wanted = tuple(layer for layer in reference.layers if layer != LOGIT or not reference.head_layer)
        return cls(reference, member(variant or None, layers=wanted), file, layers=layers)

    @property
    def full_name(self) -> str:
        """The name in the header."""
        return self.reference_of_file.name

    def make_card(self) -> BackboneCard:
        reference, card = self.reference_of_file, self.base.card
        layers = [layer for layer in reference.layers if layer != LOGIT]
        return replace(
            card,
            name=reference.name,
            layers={layer: self.base.dimension(layer) or 0 for layer in layers},
            layer=reference.layer or card.layer,
            input=self._rule() or card.input,
            weights=(WeightFile(self.file.name, path=str(self.file), licence=reference.licence),),
            has_logit=LOGIT in reference.layers,
            equality="unverified",
            licence=reference.licence,
            note=reference.note or f"a weight file of yours, on the network of {card.name}",
        )

    def _rule(self) -> InputRule | None:
        rule = self.reference_of_file.rule
        try:
            return rule_from_json(rule) if rule else None
        except OptionError as error:
            raise WeightsError(f"the header of {self.file}: {error}; pack it again") from error

    def build(self) -> nn.Module:
        reference, base = self.reference_of_file, self.base
        base.network = base.build()
        base.leave_out_but(reference.weights)
        base.filled()
        parts: dict[str, nn.Module] = {_NETWORK: base.network}
        if reference.head_layer:
            parts[_HEAD] = nn.Linear(base.dimension(reference.head_layer) or 0, 1)
        return nn.ModuleDict(parts)

    def reference(self, part: nn.Module) -> State:
        raise OptionError(f"random weights were asked for, and {self.file} brings its own; leave --weights out")

    def adapt(self, state: State, *, part: str) -> State:
        if (found := state_digest(state)) != self.reference_of_file.digest:
            raise WeightsError(
                f"{self.file} holds other values than its header says (digest {found[:16]}..., written as "
                f"{self.reference_of_file.digest[:16]}...): it is damaged; copy or pack it again"
            )
        return state

    def to_reference(self, digests: Mapping[str, str]) -> BackboneReference:
        """Return the header's reference with the layers wanted, and the SHA-256 of the file beside its digest."""
        layers = self.available_layers(digests)
        return replace(self.reference_of_file, layers=layers, weights=dict(digests), input=str(self.card.input))

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        self.base.device = self.device
        found = self.base.features(batch)
        if head_layer := self.reference_of_file.head_layer:
            found[LOGIT] = self.network.get_submodule(_HEAD)(found[head_layer].flatten(1))
        return found


def read_reference(file: Path) -> BackboneReference:
    """Return the reference in the header of a weight file of ours; no tensor is read.

    Raises:
        WeightsError: no such file, no safetensors file, or one that we did not write.
    """
    from safetensors import SafetensorError, safe_open

    try:
        require_regular(file)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise WeightsError(
            f"there is no weight file {file} ({why}); check the path given to --backbone or --weights"
        ) from error
    try:
        with safe_open(str(file), framework="numpy") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} is damaged or not a safetensors file ({error}); copy or pack it again") from error
    header = metadata.get(_HEADER)
    if header is None:
        raise WeightsError(
            f"{file} does not say which network it fills; if it is a checkpoint of a known backbone, give --backbone "
            f"NAME --weights NAME={file}, or make a file that says so with `fewshot weights pack NAME`"
        )
    if metadata.get(_HEADER_SHA256, _sha256(header)) != _sha256(header) or len(header) > _MOST_HEADER_BYTES:
        raise WeightsError(f"the header of {file} is not the one written with it: it is damaged; pack it again")
    try:
        document = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"the header of {file} cannot be read ({error}); copy or pack it again") from error
    reference = BackboneReference.from_json(document, where=f"the header of {file}")
    if not (reference.base and reference.layers and reference.digest):
        raise WeightsError(f"the header of {file} lacks the base, the layers or the digest; copy or pack it again")
    return reference


def write_weight_file(
    path: Path, backbone: Backbone, *, name: str, head: nn.Linear | None = None, head_layer: str = "", note: str = ""
) -> BackboneReference:
    """Write a filled registered backbone as a file that ``-b FILE`` takes; return the reference in its header.

    Args:
        path: a new file whose name ends in ``.safetensors``.
        backbone: filled, frozen or not.
        name: how stores will call it.
        head: a linear head (1, D) on ``head_layer`` that gives the logit, larger = synthetic.
        note: what users must know.

    Raises:
        OptionError: a name that is empty or a registered backbone's.
        OutputError: the file exists or cannot be written.
    """
    require_target(path, name)
    state = {f"{_NETWORK}.{key}": value for key, value in backbone.network.state_dict().items()}
    if head is not None:
        state |= {f"{_HEAD}.{key}": value for key, value in head.state_dict().items()}
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    card = backbone.card
    given = backbone.available_layers(backbone.weights_sha256)
    reference = BackboneReference(
        name=name,
        layers=(*(layer for layer in given if layer != LOGIT), *((LOGIT,) if head or LOGIT in given else ())),
        weights=backbone.weights_sha256,
        input=str(card.input),
        base=card.name,
        layer=card.layer,
        head_layer=head_layer if head is not None else "",
        licence=card.licence,
        digest=state_digest(tensors),
        note=note,
    )
    header = json.dumps(reference.to_json())
    write_tensors(path, tensors, metadata={_HEADER: header, _HEADER_SHA256: _sha256(header)})
    return reference


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat: Any = tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else np.empty(0, np.uint8)
        digest.update(flat)
    return digest.hexdigest()


def _require_consistent(reference: BackboneReference, file: Path) -> None:
    """Raise where a header contradicts itself, or passes the file off as a backbone of fewshot."""
    layers = [layer for layer in reference.layers if layer != LOGIT]
    faults = {
        f"its name {reference.name!r} is a backbone's of fewshot": _is_taken(reference.name),
        f"its name {reference.name[:80]!r} is none": bool(line_fault(reference.name)),
        "a layer stands there twice": len(set(reference.layers)) < len(reference.layers),
        f"its default layer {reference.layer!r} is not among them": bool(reference.layer)
        and reference.layer not in layers,
        f"its head reads {reference.head_layer!r}, which is not among them": bool(reference.head_layer)
        and reference.head_layer not in layers,
    }
    for fault, there in faults.items():
        if there:
            raise WeightsError(f"the header of {file} cannot be used: {fault} (layers {', '.join(reference.layers)})")


def _is_taken(name: str) -> bool:
    return name.partition(":")[0] in BACKBONES.names()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def require_target(path: Path, name: str) -> None:
    """Refuse, before weights are read, a name or a path that ``write_weight_file`` does not take.

    Raises:
        OptionError: the name.
        OutputError: the path.
    """
    if not name.strip() or _is_taken(name):
        raise OptionError(f"--name {name!r} is empty or names a backbone of fewshot; choose a name of your own")
    if line_fault(name):
        raise OptionError(
            f"--name {name[:80]!r} means a folder, has control characters, or more than {LINE_BYTES} bytes; "
            f"choose another"
        )
    if path.suffix != SUFFIX or path.exists():
        raise OutputError(f"{path}: the target must be a new file whose name ends in {SUFFIX}")
