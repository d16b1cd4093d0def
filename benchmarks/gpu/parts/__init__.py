"""The parts of ``make gpu``: one module each, with ``lines(sizes)``."""
