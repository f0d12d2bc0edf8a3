"""A host description in JSON, YAML or TOML: its validation, and the NixOS module made from it."""
