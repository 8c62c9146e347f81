"""Work in processes of its own: Keras runs on one framework a process."""
