"""Pixels to features to a store to search: everything that knows images and networks.

May import: core. ``extract.py`` is the whole job; the rooms below it are listed in ARCHITECTURE.md, which says who may
import whom among them.
"""

if __name__ != "fewshot.embeddings":
    raise ImportError(f"this package is imported as 'fewshot.embeddings', not as {__name__!r}")
