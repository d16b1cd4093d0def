"""The HDF5 feature store: its schema, writing, reading, merging, description and other forms of it.

May import: layer_key, core. The only place that imports h5py. Nothing of images or networks is known here.
"""
