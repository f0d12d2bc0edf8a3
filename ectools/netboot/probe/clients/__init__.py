"""The clients that the probe speaks as, and their exchanges with a network.

``client`` what each of them says · ``exchange`` asks, and collects all offers.
"""
