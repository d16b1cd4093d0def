"""Frozen detectors, one file each; ``base.py`` holds the contract."""
