"""What only a GPU can show, measured by one command: ``make gpu``, or ``make gpu DRY=1`` on a CPU with tiny sizes.

``__main__.py`` runs the parts one after another, each in a process and under a time limit of its own, and prints their
lines as they come. ``checkout.py`` makes a plain checkout importable; ``line.py`` is one line of the table; ``parts/``
holds one module per part with ``lines(sizes)``.
"""
