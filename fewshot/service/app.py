"""``create_app``: a detector as an ASGI application, for any server that takes one.

``POST /v1/predict`` takes images, as multipart (field ``images``, several) or as one raw body of type ``image/*``, and
answers 200 with, in the order of the images,

    {"detector": {"name", "digest"},
     "results": [{"image": NAME, "sha256": HEX, ...Judgement.to_json(), "provenance": {...} where it was asked for},
                 {"image": NAME, "problem": {"type", "title", "status", "detail"}}, ...]}

The query takes ``stability=true`` and ``provenance=true`` and nothing else. A raw body that cannot be judged is answered
with its problem. ``GET /v1/detector`` is ``summary.to_json`` with ``calibration_scores`` (at most 500, ascending),
``limits`` and ``offers`` ({"stability", "provenance", "feedback"}: whether each can be asked for).
``POST /v1/feedback`` takes JSON {"sha256", "label": "synthetic" | "natural", "verdict", "image", "source", "comment"},
of which the first two are needed, and answers 201. ``GET /healthz``, ``/readyz``, ``/metrics``, ``/openapi.json``.
Whatever is not answered so is a problem (RFC 9457): {"type", "title", "status", "detail", "request_id"}.
"""
