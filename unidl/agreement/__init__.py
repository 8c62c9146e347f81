"""Whether a model computes the same on every backend: each against one of them in float64, layer by layer."""
