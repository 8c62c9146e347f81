"""Hardware and software of this machine: processor, memory, NVIDIA GPUs, versions; and data sheets of GPUs."""
