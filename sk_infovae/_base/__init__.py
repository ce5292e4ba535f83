"""What every room may use: parameters, seeds, Gaussians, what depends on versions."""
