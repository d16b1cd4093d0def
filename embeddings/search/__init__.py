"""Nearest images of a store and the sources they speak for; ``faiss_index.py`` is the only importer of FAISS.

May import: embedder, store, core.
"""
