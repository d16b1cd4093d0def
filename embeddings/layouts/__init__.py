"""Data sets on disk as labelled samples: one structure per file, ``base.py`` holds the contract.

``collection.py`` reads several roots into the one list that an extraction works on. May import: inputs, core. Members
never import each other; the files marked as shared in ARCHITECTURE.md are what several use.
"""
