"""Published experiments: each reads a feature store and returns a report."""

if __name__ != "fewshot.protocols":
    raise ImportError(f"this package is imported as 'fewshot.protocols', not as {__name__!r}")
