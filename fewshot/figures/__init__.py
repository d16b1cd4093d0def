"""Figures of results, one kind per file: arrays or report rows in, a matplotlib figure out; nothing is shown.

May import: protocols, results, stats, embeddings, core. The only place that imports matplotlib.
"""
