"""Heads on frozen features, one file each; ``base.py`` holds the contract.

May import: solvers, reconstruction, stats, core. Members never import each other.
"""
