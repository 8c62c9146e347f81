"""Verification that a model computes the same on every backend: each is compared layer by layer with float64."""
