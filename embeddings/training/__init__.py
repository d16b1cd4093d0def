"""Losses and loops of methods that are trained: what is minimised, over modules that the caller builds.

It knows no network, no weight file and no store.
"""
