"""Data: what a model is trained and tested on, checked before training."""
