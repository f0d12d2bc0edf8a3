"""The main job on an embedded default: from a host description to a guest that reports that it is up."""
