"""Data-set structures on disk, one file each; ``base.py`` holds the contract."""
