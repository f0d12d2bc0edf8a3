"""What a boot server remembers: entries that are changed by comparing, and events that are only ever added.

``interface`` what every implementation gives, in eight calls: nothing else of the program knows which it is;
``sqlite`` one host's, in a file (``database``), by SQL (``statements``); ``broadcast`` what changes, handed
to each who listens.
"""
