"""Hardware and software of this machine: processor, memory, NVIDIA GPUs, and installed versions."""
