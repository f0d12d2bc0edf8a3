"""One client from its first frame to the kernel, and what is wrong with its network."""
