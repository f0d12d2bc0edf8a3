"""The settings of network boot.

``model`` what they are · ``checks`` what a schema cannot say of them · ``load`` a file, the environment and
flags → settings.
"""
