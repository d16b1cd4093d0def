"""Few-shot adaptation of AI-generated-image detectors on frozen features.

The public names; they are loaded when they are first used, so that ``import fewshot`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewshot.detector.detector import Detector as Detector
    from fewshot.detector.fit import fit as fit
    from fewshot.draws.episodes import Episode as Episode
    from fewshot.embeddings.extract import embed as embed
    from fewshot.embeddings.search.index import SourceIndex as SourceIndex
    from fewshot.embeddings.store.reader import FeatureStore as FeatureStore
    from fewshot.protocols.attribution import Attribution as Attribution
    from fewshot.protocols.fiser import adapt as adapt
    from fewshot.protocols.nearest import Nearest as Nearest
    from fewshot.results.compare import compare as compare
    from fewshot.results.report import Report as Report
    from fewshot.service.app import create_app as create_app

__version__ = "0.1.0"

_HOMES = {
    "Detector": "fewshot.detector.detector",
    "fit": "fewshot.detector.fit",
    "embed": "fewshot.embeddings.extract",
    "FeatureStore": "fewshot.embeddings.store.reader",
    "SourceIndex": "fewshot.embeddings.search.index",
    "Episode": "fewshot.draws.episodes",
    "adapt": "fewshot.protocols.fiser",
    "Nearest": "fewshot.protocols.nearest",
    "Attribution": "fewshot.protocols.attribution",
    "compare": "fewshot.results.compare",
    "Report": "fewshot.results.report",
    "create_app": "fewshot.service.app",
}

__all__ = [
    "Attribution",
    "Detector",
    "Episode",
    "FeatureStore",
    "Nearest",
    "Report",
    "SourceIndex",
    "__version__",
    "adapt",
    "compare",
    "create_app",
    "embed",
    "fit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fewshot' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
