"""What is simulated: activations, spectra, cells, initialisers, and the parameters drawn from them."""
