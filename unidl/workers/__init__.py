"""Work in separate processes, since Keras runs on one framework per process."""
