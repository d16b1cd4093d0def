"""Data curves: one class fitted at growing shares of its training images, point by point, beside references.

May import: trials, reconstruction, heads, results, draws, stats, embeddings, core. The protocol is ``attribution.py``.
"""
