"""Image columns in Parquet."""
