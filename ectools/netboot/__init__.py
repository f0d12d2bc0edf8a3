"""Network boot: releases are staged, served over HTTP and TFTP, booted by iPXE, and probed."""
