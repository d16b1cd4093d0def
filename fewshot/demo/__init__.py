"""The whole demo on images made on the spot: photographs of installed packages, and fakes remade from them.

May import everything but the command line.
"""
