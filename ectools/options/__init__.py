"""Option declarations of NixOS modules, read through the shim, and the JSON Schemas made from them."""
