"""The command line: one file a command group; each parses, calls one function, prints.

The programs begin at ``entry``. ``main`` loads each command with ``lazy``: ``demo`` (``demo_netboot``,
``demo_rollout``, ``demo_boot_host``) ·
``doctor`` · ``init`` · ``validate`` · ``generate`` · ``netboot`` · ``fleet`` (with ``fleet_nodes``,
``fleet_history``, ``fleet_verify``, ``fleet_looks``, ``fleet_text`` and ``fleet_socket``) · ``rollout`` ·
``vm`` · ``service`` · ``verify_closure`` · ``completion`` · ``options`` · ``eval`` · ``schema`` · ``docs`` ·
``vmtest`` · ``proposals``. They share ``combined_schema``, ``complete``, ``log_format``, ``module_options``,
``nix_messages``, ``param_types`` and ``service_settings``.
"""
