"""The plan that layers of a store record: the very path on which their features were produced, for further images."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from fewshot.core.errors import DeviceError, StoreError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.backbones.creation import recreate
from fewshot.embeddings.card import Weights
from fewshot.embeddings.inputs.decoders import PILLOW
from fewshot.embeddings.inputs.views import parse
from fewshot.embeddings.layer_key import CLEAN
from fewshot.embeddings.layouts.collection import Collection
from fewshot.embeddings.pipeline.choice import ChosenBackbone, planned_of, task_of
from fewshot.embeddings.pipeline.plan import Plan
from fewshot.embeddings.pipeline.settings import (
    AUTO,
    DECODE_SECONDS,
    ComputeSettings,
    PixelSettings,
    Precision,
    devices_of,
)
from fewshot.embeddings.pipeline.units import Unit
from fewshot.embeddings.reference import BackboneReference
from fewshot.embeddings.store.reader import LayerInfo
from fewshot.embeddings.weights.locate import resolve
from fewshot.embeddings.weights.requests import value_of

_BATCH = 32  # where a store does not say how many images made a batch


def recorded_plan(
    infos: Sequence[LayerInfo],
    samples: Collection,
    *,
    where: str,
    weights: Sequence[str] = (),
    device: str = AUTO,
    workers: int = 1,
    decode_seconds: float = DECODE_SECONDS,
) -> tuple[Plan, Unit]:
    """Return the plan that produces some layers' features of other images in one pass, and its only unit: all of them.

    Weights, input rule, decoder, re-encoding, precision, stored type, view, memory layout and batch size are those of
    the layers; only the device is this machine's. The unit has a task for each backbone and view, in their order.

    Args:
        infos: the layers, produced alike but for weights and input rule; where: what holds them, for messages.
        samples: the images.
        weights: ``NAME=PATH`` requests, as for ``fewshot embed``.
        device: ``auto`` is the first GPU where there is one.
        workers: decoding processes; one keeps a hostile image away from this process.
        decode_seconds: what one image may take there.

    Raises:
        StoreError: the weights or the input rule on this machine are not those of a layer, or the layers were not
            produced alike.
        WeightsError: the weights are not on this machine.
        UnknownNameError: a request names none of the backbones.
        DeviceError: no such device, or one that cannot compute in the layers' precision.
    """
    first = infos[0]
    _require_alike(infos, where=where)
    pixels = PixelSettings(
        decoder=str(first.provenance.get("decoder") or PILLOW),
        reencode=parse(str(first.provenance.get("reencode") or CLEAN)).pixels,
    )
    compute = replace(
        _compute(infos, devices_of(device)[:1], where=where, workers=workers), decode_seconds=decode_seconds
    )
    chosen = {}
    for name in dict.fromkeys(info.backbone for info in infos):
        reference = _reference([info for info in infos if info.backbone == name])
        backbone, found = _on_this_machine(reference, weights)
        planned = planned_of(backbone, found)
        _require_same(reference, planned.reference, where=where)
        chosen[name] = ChosenBackbone(backbone, planned)
    tasks = tuple(
        task_of(chosen[name], parse(view), pixels=pixels, precision=compute.precision, dtype=first.dtype)
        for name, view in dict.fromkeys((info.backbone, info.view) for info in infos)
    )
    plan = Plan(
        backbones=tuple(each.planned for each in chosen.values()),
        samples=samples,
        keys=tuple(samples.keys),
        known={},
        pixels=pixels,
        compute=compute,
        dtype=first.dtype,
        folder=Path(),
    )
    return plan, Unit(tuple(range(len(samples))), tasks)


def recorded_reference(info: LayerInfo) -> BackboneReference:
    """Return the reference that a layer records, of this layer alone; stores before references record its parts."""
    if "reference" in info.provenance:
        whole = BackboneReference.from_json(info.provenance["reference"], where=f"layer {info.layer!r}")
        return replace(whole, layers=(info.layer,))
    return BackboneReference(
        info.backbone,
        layers=(info.layer,),
        weights=dict(info.provenance.get("weights") or {}),
        input=str(info.provenance.get("input") or ""),
    )


def _reference(infos: Sequence[LayerInfo]) -> BackboneReference:
    """Return the reference of one backbone with all the layers that are wanted of it."""
    return replace(recorded_reference(infos[0]), layers=tuple(dict.fromkeys(info.layer for info in infos)))


def _require_alike(infos: Sequence[LayerInfo], *, where: str) -> None:
    """Refuse layers that one pass over the images cannot produce."""
    for name, unset in (("decoder", PILLOW), ("reencode", CLEAN), ("precision", "fp32")):
        found = {str(info.provenance.get(name) or unset) for info in infos}
        if len(found) > 1:
            raise StoreError(
                f"{where}: its layers were produced with several values of {name} ({', '.join(sorted(found))}), which "
                f"one pass cannot do; embed them alike, in one run"
            )
    if len(types := {info.dtype for info in infos}) > 1:
        raise StoreError(f"{where}: its layers are stored as {' and '.join(sorted(types))}; embed them alike")


def _on_this_machine(reference: BackboneReference, requests: Sequence[str]) -> tuple[Backbone, Weights]:
    """Return the unloaded backbone and its files; random weights are drawn again where the layer records them."""
    given: Weights = {}
    if reference.base:
        named = value_of(requests, reference.name)
        given = {"net": Path(named).expanduser()} if named else {}
    backbone = recreate(reference, weights=given)
    return backbone, resolve(backbone.card, requests)


def _require_same(recorded: BackboneReference, here: BackboneReference, *, where: str) -> None:
    for what, wanted, found in (
        ("weights", dict(recorded.weights), dict(here.weights)),
        ("input", recorded.input, here.input),
    ):
        if wanted and found and wanted != found:
            raise StoreError(
                f"{where} was produced with {what} = {wanted}, and the backbone on this machine has {found}; "
                f"give --weights {recorded.name}=PATH of the same file, or embed again with these"
            )


def _compute(infos: Sequence[LayerInfo], devices: tuple[str, ...], *, where: str, workers: int) -> ComputeSettings:
    precision = str(infos[0].provenance.get("precision") or "fp32")
    if precision not in get_args(Precision):
        raise StoreError(
            f"{where} records the precision {precision!r}, which this fewshot does not know; embed it again"
        )
    if precision == "fp16" and devices[0] == "cpu":
        raise DeviceError(
            f"{where} was produced in fp16, which needs a CUDA device; give --device cuda, or embed again in fp32"
        )
    layouts = {info.backbone: info.provenance.get("channels_last") for info in infos}
    return ComputeSettings(
        devices=devices,
        precision=precision,  # type: ignore[arg-type]  # one of them, as just checked
        batch_size=min(int(info.provenance.get("batch_size") or _BATCH) for info in infos),
        channels_last=None if None in layouts.values() else frozenset(name for name, last in layouts.items() if last),
        workers=workers,
    )
