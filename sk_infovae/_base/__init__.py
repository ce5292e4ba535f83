"""What every room may use: parameters, seeds, q(z|x), what depends on versions."""
