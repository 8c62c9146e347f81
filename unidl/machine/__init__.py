"""What this process runs on: the processor, the memory, NVIDIA's GPUs, and the versions of what is installed."""
