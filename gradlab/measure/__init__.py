"""Settings in, named NumPy arrays out."""
