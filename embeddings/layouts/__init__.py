"""Data sets on disk as labelled samples: one structure per file, ``base.py`` holds the contract.

``collection.py`` reads several roots into the one list that an extraction works on. May import: inputs, core. Members
never import each other; ``tree.py`` and ``columnar.py`` are what several share.
"""
