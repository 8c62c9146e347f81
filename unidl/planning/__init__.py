"""What a model needs and how long it takes on a GPU that this machine does not have: figures of GPUs as data, and
memory, time, energy and cost derived from the shapes of a model."""
