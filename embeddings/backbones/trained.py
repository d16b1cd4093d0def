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
from fewshot.core.names import require_name
from fewshot.embeddings.backbones.base import BACKBONES, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import rule_from_json
from fewshot.embeddings.layer_key import LOGIT
from fewshot.embeddings.reference import BackboneReference
from fewshot.embeddings.weights.checkpoint import State
from fewshot.embeddings.weights.tensors import write_tensors

SUFFIX = ".safetensors"
_HEADER = "fewshot"
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
            input=rule_from_json(reference.rule) if reference.rule else card.input,
            weights=(WeightFile(self.file.name, path=str(self.file), licence=reference.licence),),
            has_logit=LOGIT in reference.layers,
            equality="unverified",
            licence=reference.licence,
            note=reference.note or f"a weight file of yours, on the network of {card.name}",
        )

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

    if not file.is_file():
        raise WeightsError(f"there is no weight file {file}; check the path given to --backbone or --weights")
    try:
        with safe_open(str(file), framework="numpy") as opened:
            header = (opened.metadata() or {}).get(_HEADER)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} is damaged or not a safetensors file ({error}); copy or pack it again") from error
    if header is None:
        raise WeightsError(
            f"{file} does not say which network it fills; if it is a checkpoint of a known backbone, give --backbone "
            f"NAME --weights NAME={file}, or make a file that says so with `fewshot weights pack NAME`"
        )
    try:
        document = json.loads(header)
    except ValueError as error:
        raise WeightsError(f"the header of {file} cannot be read ({error}); copy or pack it again") from error
    reference = BackboneReference.from_json(document, where=f"the header of {file}")
    for what, each in (("backbone", reference.name), *(("layer", layer) for layer in reference.layers)):
        require_name(each, what=what, where=f"the header of {file}")
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
    write_tensors(path, tensors, metadata={_HEADER: json.dumps(reference.to_json())})
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


def require_target(path: Path, name: str) -> None:
    """Refuse, before weights are read, a name or a path that ``write_weight_file`` takes not.

    Raises:
        InputError, OptionError: the name.
        OutputError: the path.
    """
    if name:
        require_name(name, what="backbone", where="--name")
    if not name or name.partition(":")[0] in BACKBONES.names():
        raise OptionError(f"--name {name!r} is empty or names a backbone of fewshot; choose a name of your own")
    if path.suffix != SUFFIX or path.exists():
        raise OutputError(f"{path}: the target must be a new file whose name ends in {SUFFIX}")
