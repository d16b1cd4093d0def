"""Frozen detectors, one per file; ``base.py`` holds the contract.

May import: networks, training, weights, card, inputs, core. Members never import each other. ``catalogue.py`` lists
them and ``parity.py`` holds them against recorded outputs of the authors' code.
"""
