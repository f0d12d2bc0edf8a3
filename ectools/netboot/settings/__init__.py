"""The settings of network boot: the model, what a schema cannot say of it, and how it is loaded."""
