"""Who runs which unit of work: this process, several processes, a cluster; ``base.py`` holds the contract.

May import: embedder, pipeline and what stands below. Members never import each other.
"""
