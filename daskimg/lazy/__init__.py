"""The same ``.img`` on Dask: programs as expressions that merge into one pass per image."""
