"""From a file's bytes to RGB pixels to a network's input array: decoders, perturbations, resizing, without torch.

May import: core. Nothing of networks or stores is known here, so that decoding processes start fast.
"""
