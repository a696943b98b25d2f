"""What mathematics predicts about gradients through time, as plain functions of arrays."""
