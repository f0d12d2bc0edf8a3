"""The settings of network boot.

``model`` what they are · ``checks`` of one value · ``build`` JSON → settings, or all that is wrong · ``load``
a file, the environment and flags → settings.
"""
