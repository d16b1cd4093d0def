"""Pixels to features to a store to search: everything that knows images and networks."""

if __name__ != "fewshot.embeddings":
    raise ImportError(f"this package is imported as 'fewshot.embeddings', not as {__name__!r}")
