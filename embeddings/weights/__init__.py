"""Weight files: found, fetched, verified, read without running their code, and put into a network key by key.

May import: card, core. No architecture is known here.
"""
