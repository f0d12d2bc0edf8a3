"""The toolkit that keeps the every.channel NixOS modules authoritative, and the programs their units start."""

__version__ = "0.1.0"
