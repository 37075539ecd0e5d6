"""What an image column is: its dtype, its array, its scalar, its Arrow form. No Dask."""
