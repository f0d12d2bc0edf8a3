"""iPXE as a language: its lines, its URLs, the tokens that it can send, and its error numbers."""
