"""Content credentials (C2PA) of a file, read by the project's own library without a network, as JSON values.

C2PA technical specification 2.2: a manifest is what a signer says of a file, bound to its bytes by hashes.
"""

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from fewshot.detector.digital_source_types import meaning, short_name
from fewshot.detector.file_claims import short_text

_MOST = 20
_UNTRUSTED = "signingCredential.untrusted"
_OURS, _INGREDIENT = "this image", "an ingredient"
_OFFLINE = {
    "version": 1,
    "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
    "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
}


def offline_context(anchors: str) -> Any:
    """Return the settings of all reading: no host may be reached, and only ``anchors`` (PEM) are trusted."""
    from c2pa import Context

    trust = {"trust": {"trust_anchors": anchors}} if anchors else {}
    return Context.from_dict(_OFFLINE | trust)


def content_credentials(encoded: bytes, context: Any, *, with_trust_list: bool) -> dict[str, Any]:
    """Return the content credentials of a file's bytes, in the shape of ``Credentials``.

    Args:
        context: of ``offline_context``; with_trust_list: whether it has anchors.
    """
    from c2pa import C2paError, Reader

    try:
        reader = Reader.try_create(None, io.BytesIO(encoded), context=context)
        if reader is None:
            return _only("none", "no content credentials")
        with reader:
            store = json.loads(reader.json())
    except C2paError as error:
        return _refused(str(error))
    if not isinstance(store, Mapping):
        return _only("unreadable", "unreadable: they are no manifest store")
    return _said(store, with_trust_list=with_trust_list)


def _only(state: str, sentence: str, **more: str) -> dict[str, Any]:
    return {"state": state, "sentence": sentence, **more}


def _refused(message: str) -> dict[str, Any]:
    """Return what the library's refusal means; its messages begin with the name of their kind."""
    kind, _, rest = message.partition(": ")
    if kind == "NotSupported":
        return _only("none", "no content credentials can be read from a file of this kind")
    if kind == "Remote":
        url = short_text(rest.partition("url ")[2])
        return _only(
            "remote", f"content credentials are said to lie at {_quoted(url)}; nothing is fetched", remote_url=url
        )
    return _only("unreadable", f"unreadable: {short_text(rest or message)}")


def _said(store: Mapping[str, Any], *, with_trust_list: bool) -> dict[str, Any]:
    manifests = _mapping(store.get("manifests"))
    active = _mapping(manifests.get(str(store.get("active_manifest"))))
    signature = _mapping(active.get("signature_info"))
    actions = list(_actions(active))
    trusted = with_trust_list and store.get("validation_state") == "Trusted"
    intact = store.get("validation_state") in ("Trusted", "Valid")
    found = {
        "state": "trusted" if trusted else "valid" if intact else "invalid",
        "signer": short_text(signature.get("common_name")),
        "issuer": short_text(signature.get("issuer")),
        "trusted": trusted,
        "claim_generator": _generator(active),
        "source_types": _source_types(manifests, active),
        "actions": [_action(action) for action in actions[:_MOST]],
        "when": short_text(
            signature.get("time") or next((one["when"] for one in actions[::-1] if one.get("when")), "")
        ),
        "problems": list(_problems(store))[:_MOST],
    }
    return found | {"sentence": _sentence(found, with_trust_list=with_trust_list)}


def _sentence(found: Mapping[str, Any], *, with_trust_list: bool) -> str:
    issuer = f" (issuer {_quoted(found['issuer'])})" if found["issuer"] else ""
    signer = f"{_quoted(found['signer']) if found['signer'] else 'a certificate without a name'}{issuer}"
    if found["state"] == "invalid":
        why = found["problems"][0] if found["problems"] else "no reason is given"
        return f"content credentials that fail validation ({why}): neither what they say nor {signer} can be relied on"
    if found["trusted"]:
        return f"content credentials signed by {signer}, in the trust list"
    why = "" if with_trust_list else " (none was given, and none is shipped)"
    return f"content credentials signed by {signer}, not in the trust list{why}: anyone can make such a certificate"


def _quoted(text: str) -> str:
    """Return a text of others in quotation marks that it cannot close."""
    return '"' + text.replace('"', "'") + '"'


def _generator(manifest: Mapping[str, Any]) -> str:
    infos = [_mapping(info) for info in _listed(manifest.get("claim_generator_info"))]
    names = [f"{info.get('name') or ''} {info.get('version') or ''}".strip() for info in infos[:_MOST]]
    return short_text(", ".join(name for name in names if name) or manifest.get("claim_generator"))


def _source_types(manifests: Mapping[str, Any], active: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return each source type once, those of the image itself first."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    others = [_mapping(manifest) for manifest in manifests.values() if manifest is not active]
    for whose, manifest in [(_OURS, active), *((_INGREDIENT, other) for other in others)]:
        for action in _actions(manifest):
            if uri := action.get("digitalSourceType"):
                name = short_text(short_name(str(uri)), limit=80)
                found.setdefault((whose, name), {"type": name, "meaning": meaning(str(uri)), "of": whose})
    return list(found.values())[:_MOST]


def _actions(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for assertion in map(_mapping, _listed(manifest.get("assertions"))):
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            yield from map(_mapping, _listed(_mapping(assertion.get("data")).get("actions")))


def _action(action: Mapping[str, Any]) -> dict[str, str]:
    agent = action.get("softwareAgent")
    software = _mapping(agent).get("name") if isinstance(agent, Mapping) else agent
    return {
        "action": short_text(action.get("action"), limit=80),
        "when": short_text(action.get("when"), limit=80),
        "software": short_text(software),
    }


def _problems(store: Mapping[str, Any]) -> Iterator[str]:
    """Yield what does not hold; that a signer is not trusted is said elsewhere."""
    results = _mapping(store.get("validation_results"))
    deltas = [_mapping(delta).get("validationDeltas") for delta in _listed(results.get("ingredientDeltas"))]
    for part in (results.get("activeManifest"), *deltas):
        for failure in map(_mapping, _listed(_mapping(part).get("failure"))):
            if failure.get("code") != _UNTRUSTED:
                yield short_text(f"{failure.get('code')}: {failure.get('explanation')}")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
