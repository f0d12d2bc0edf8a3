"""iPXE: the scripts that clients run, the binaries that run them, and the folder that holds both for TFTP."""
