"""Encoder-decoders fitted on one class and the classifier on their deviation: networks, row streams and training.

May import: core.
"""
