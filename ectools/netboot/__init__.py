"""Network boot: the HTTP server of boot artifacts."""
