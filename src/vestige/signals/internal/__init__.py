"""What the weights give away: gradients and activations of single records."""
