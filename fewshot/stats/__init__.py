"""How good and how sure: measures of scores, intervals over draws and over images; arrays in, numbers out.

May import: core.
"""
