"""HTTP as a client: what is downloaded, from whom, how often it is tried, and what of a URL is told."""
