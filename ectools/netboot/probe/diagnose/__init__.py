"""One client from its first frame to the kernel, and what is wrong with its network.

``follow`` the way of one architecture · ``trace`` its stages and how it ends · ``variables`` what its scripts
find set · ``second_stage`` what a shim asks for · ``network`` what only all offers together show.
"""
