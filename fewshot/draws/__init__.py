"""Which images: episodes, nested fractions, coresets, near-duplicates; arrays in, arrays out.

May import: core.
"""
