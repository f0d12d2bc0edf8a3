"""Option documentation, from the schemas alone."""
