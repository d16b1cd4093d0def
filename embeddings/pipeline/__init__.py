"""One pass over the images: what is missing, decoding in processes, networks on batches, finished units on disk.

May import: backbones, layouts, store, inputs, core. Who runs which unit is an engine's business.
"""
