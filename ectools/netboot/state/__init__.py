"""What a boot server remembers: entries that are changed by comparing, and events that are only ever added.

``interface`` what every implementation gives, in eight calls: nothing else of the program knows which it is;
``entries`` which keys and values there are; ``known`` what a reader has taken over of them; ``decode`` reads
what others have written, within bounds, and ``unreadable`` tells of what cannot be.

One host's: ``sqlite``, in a file (``database``), by SQL (``statements``).

Several hosts': ``shared``, which lives on what one host has of it (``local_copy``, as far as ``copy_place``
says) and has heard of it (``shared_view``); ``shared_link`` keeps it linked to NATS, by ``nats_bucket``, over
a ``nats_connection`` of a ``nats_client`` as ``nats_access`` says, until its ``connection_end``;
``stream_end`` tells whether NATS has lost its last messages. All go by one ``shared_clock``.

``broadcast`` what changes, handed to each who listens.
"""
