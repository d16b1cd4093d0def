"""Many small fits at once: kernel machines, logistic regressions and neighbours over all trials together.

May import: draws, stats, core. Heads call it; nothing of stores or reports is known here.
"""
