"""What protocols share: the evaluation pool, its draws, the choice of a layer, measures and caveats.

May import: heads, audit, results, draws, stats, embeddings, core. No protocol stands here.
"""
