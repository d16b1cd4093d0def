"""The shapes of requests and answers, as ``/openapi.json`` shows them."""

from typing import Any

from fewshot.service.problems import MEDIA_TYPE as PROBLEM_JSON

_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_VERDICT = {"type": "string", "enum": ["synthetic", "natural", "unsure"]}
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_IMAGE_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT},
}
PROBLEM = {
    **_IMAGE_PROBLEM,
    "required": [*_IMAGE_PROBLEM["required"], "request_id"],
    "properties": {**_IMAGE_PROBLEM["properties"], "request_id": _TEXT},  # type: ignore[dict-item]  # both are objects
}
_JUDGED = {
    "type": "object",
    "required": ["image", "sha256", "verdict", "score", "probability", "unknown", "sources", "nearest"],
    "properties": {
        "image": _TEXT,
        "sha256": _SHA256,
        "verdict": _VERDICT,
        "reason": _TEXT,
        "score": _NUMBER,
        "probability": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2},
        "members": {"type": "object", "additionalProperties": _NUMBER},
        "weights": {"type": "object", "additionalProperties": _NUMBER},
        "unknown": {"type": "boolean"},
        "p_value": _NUMBER,
        "sources": {"type": "array", "items": {"type": "object"}},
        "nearest": {"type": "array", "items": {"type": "object"}},
        "under": {"type": "object"},
        "provenance": {"type": "object"},
    },
}
_FAILED = {
    "type": "object",
    "required": ["image", "problem"],
    "properties": {"image": _TEXT, "problem": _IMAGE_PROBLEM},
}
PREDICTED = {
    "type": "object",
    "required": ["detector", "results"],
    "properties": {
        "detector": {"type": "object", "required": ["name", "digest"], "properties": {"name": _TEXT, "digest": _TEXT}},
        "results": {"type": "array", "items": {"oneOf": [_JUDGED, _FAILED]}},
    },
}
_BINARY = {"type": "string", "format": "binary"}
IMAGES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "additionalProperties": False,
                    "properties": {"images": {"type": "array", "items": _BINARY, "minItems": 1}},
                }
            },
            "image/*": {"schema": _BINARY},
        },
    }
}
FEEDBACK: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["sha256", "label"],
                    "additionalProperties": False,
                    "properties": {
                        "sha256": _SHA256,
                        "label": {"type": "string", "enum": ["synthetic", "natural"]},
                        "verdict": {"anyOf": [_VERDICT, {"type": "null"}]},
                        "image": {"type": "string", "maxLength": 255},
                        "source": {"type": "string", "maxLength": 255},
                        "comment": {"type": "string", "maxLength": 1000},
                    },
                }
            }
        },
    }
}


def answers(*problems: int, status: int = 200, schema: Any = None, media: str = "application/json") -> dict[Any, Any]:
    """Return what a route can answer, for its ``responses``.

    Args:
        problems: statuses that come as problems.
        schema: of its usual answer.
    """
    found: dict[Any, Any] = {
        problem: {"description": "A problem.", "content": {PROBLEM_JSON: {"schema": PROBLEM}}} for problem in problems
    }
    found[status] = {"description": "Done.", "content": {media: {"schema": schema or {"type": "object"}}}}
    return found
