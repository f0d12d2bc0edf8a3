"""The clients that the probe plays, and their exchanges with a network.

``client`` their messages · ``exchange`` offers, port 4011 and leases.
"""
