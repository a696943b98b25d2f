"""How gradients are made and used: the engine of backpropagation through time, and clip rules."""
