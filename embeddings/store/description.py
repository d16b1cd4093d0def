"""What is in a feature store and how it was made, as JSON values and as lines."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from fewshot.core.control_characters import escape_control
from fewshot.embeddings.store.failures import EVERY
from fewshot.embeddings.store.reader import FeatureStore, LayerInfo
from fewshot.embeddings.store.schema import feature_name


def describe(store: FeatureStore) -> dict[str, Any]:
    """Return what a store holds and how it was made; JSON values only."""
    sources = Counter(zip(store.synthetic.tolist(), store.source.tolist(), strict=True))
    return {
        "path": str(store.path),
        "digest": store.digest,
        "images": len(store),
        "natural": int((~store.synthetic).sum()),
        "synthetic": int(store.synthetic.sum()),
        "sources": [
            {"source": str(source), "synthetic": bool(synthetic), "images": int(count)}
            for (synthetic, source), count in sorted(sources.items())
        ],
        "formats": dict(Counter(store.column("format").tolist())),
        "modes": dict(Counter(store.column("mode").tolist())),
        "columns": list(store.columns),
        "layers": [_layer(store, info) for info in store.layers],
        "failed": [asdict(failure) for failure in store.failures()],
        "roots": list(store.roots),
        "provenance": store.provenance,
    }


def lines(store: FeatureStore) -> list[str]:
    """Return the same for reading, in lines without the characters that a terminal obeys."""
    found = describe(store)
    text = [
        f"{found['path']}: {found['images']} images ({found['natural']} natural, {found['synthetic']} synthetic)",
        f"digest    {found['digest']}",
        f"made      {found['provenance'].get('created', 'not known')} from {', '.join(found['roots']) or 'arrays'}",
    ]
    for synthetic, name in ((False, "natural"), (True, "synthetic")):
        of_class = [f"{each['source']} {each['images']}" for each in found["sources"] if each["synthetic"] == synthetic]
        text.append(f"{name:<10}{', '.join(of_class) or 'none'}")
    text.append("formats   " + ", ".join(f"{name or 'not known'} {count}" for name, count in found["formats"].items()))
    odd = {name: count for name, count in found["modes"].items() if name not in ("RGB", "")}
    if odd:
        text.append("converted to RGB from " + ", ".join(f"{name} {count}" for name, count in odd.items()))
    for layer in found["layers"]:
        text += _layer_lines(layer)
    return [escape_control(line) for line in text + _failure_lines(found["failed"])]


def _layer(store: FeatureStore, info: LayerInfo) -> dict[str, Any]:
    return {
        "backbone": info.backbone,
        "layer": info.layer,
        "view": info.view,
        "dimension": info.dimension,
        "dtype": info.dtype,
        "default": info.default,
        "normalised": info.normalised,
        "present": int(store.present(info.backbone, view=info.view).sum()),
        "digest": info.digest,
        "provenance": dict(info.provenance),
    }


def _layer_lines(layer: dict[str, Any]) -> list[str]:
    how, mark = layer["provenance"], " (default)" if layer["default"] else ""
    made = [f"{name} {how[name]}" for name in ("precision", "device", "batch_size") if how.get(name) is not None]
    made += [f"weights {part}:{digest[:16]}" for part, digest in (how.get("weights") or {}).items()]
    made += [f"re-encoded {how['reencode']}"] if how.get("reencode") else []
    name = f"{layer['backbone']}/{feature_name(layer['layer'], layer['view'])}"
    lines = [f"layer     {name}{mark}: {layer['present']} x {layer['dimension']} {layer['dtype']}"]
    if made:
        made.append(f"decoder {how.get('decoder', 'not known')}")
        lines.append(f"          input {how.get('input', 'not known')}; {', '.join(made)}")
    return lines


def _failure_lines(failed: list[dict[str, Any]]) -> list[str]:
    lines = []
    for failure in failed:
        whose = "" if failure["backbone"] == EVERY else f" for {failure['backbone']} ({failure['view']})"
        lines.append(f"failed    {failure['key']}{whose}: {failure['reason']}")
    return lines
