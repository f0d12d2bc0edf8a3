"""The settings of network boot.

``model`` what they are · ``checks`` of one value · ``boot_names`` in the TFTP directory · ``build`` JSON →
settings, or all that is wrong · ``load`` a file, the environment and flags → settings · ``source`` where
releases come from · ``depot_address`` what a place is called that releases are staged from, or published in ·
``origins`` of their values, for messages · ``kernel_settings`` that they ask for.
"""
