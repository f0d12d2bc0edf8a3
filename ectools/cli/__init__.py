"""The command line: one file a command group; each parses, calls one function, prints.

``main`` loads each with ``lazy``: ``demo`` · ``docs`` · ``doctor`` · ``eval`` · ``generate`` · ``init`` ·
``netboot`` · ``proposals`` · ``schema`` · ``service`` · ``validate`` · ``verify_closure`` · ``vm`` ·
``vmtest``. They share ``combined_schema``, ``log_format``, ``param_types`` and ``service_settings``.
"""
