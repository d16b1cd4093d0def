"""Published experiments: each reads a feature store and returns a report; ``base.py`` holds the contract.

May import: results, audit, heads, solvers, reconstruction, draws, stats, embeddings, core. Members never import each
other.
"""

if __name__ != "fewshot.protocols":
    raise ImportError(f"this package is imported as 'fewshot.protocols', not as {__name__!r}")
