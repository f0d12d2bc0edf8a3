"""The clients that the probe speaks as, and their exchanges with a network."""
