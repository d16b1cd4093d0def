"""Nearest sources on one store: every source known, one of them new, one of them left out of the index.

May import: trials, audit, results, draws, stats, embeddings, core. The protocol is ``nearest.py``.
"""
