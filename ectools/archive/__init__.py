"""Archives: a compressed stream → its tar entries → plain files in a directory, within limits."""
