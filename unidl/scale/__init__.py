"""Training by several processes, each with a device of its own, with the numbers of one."""
