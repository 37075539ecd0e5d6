"""What is to be done to a picture, as data, and doing it once."""
