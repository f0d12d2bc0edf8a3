"""The toolkit that keeps the every.channel NixOS modules authoritative, and the programs of their units."""

__version__ = "0.1.0"
