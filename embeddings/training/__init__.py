"""What networks are trained with: losses on their outputs, one method each, and loops over modules.

May import: core. A loss takes embeddings and labels and knows no network; whoever trains one brings it.
"""
