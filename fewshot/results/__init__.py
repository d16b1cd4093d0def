"""What came out and how it was made: rows, reports, tables, comparisons, kept scores.

May import: stats, core. Nothing here runs an experiment.
"""
