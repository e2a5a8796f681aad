"""Pure PyTorch: no host, no command line, no globals."""
