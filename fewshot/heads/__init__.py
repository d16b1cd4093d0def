"""Heads on frozen features, one file each; ``base.py`` holds the contract."""
