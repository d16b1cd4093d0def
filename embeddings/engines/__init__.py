"""Who runs which unit of work: this process, or one process per device; ``base.py`` holds the contract.

May import: embedder, pipeline and what stands below. Members never import each other.
"""
