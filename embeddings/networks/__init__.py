"""Parts of networks that several backbones share: trunks, image towers, residual filters, hooks on layers.

May import: weights, card, inputs, core. No card of a detector stands here; those are in backbones.
"""
