"""NumPy files: rows of .npy and .npz, and pixels as .npy shards."""
