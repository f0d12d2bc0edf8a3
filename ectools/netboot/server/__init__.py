"""The boot server: HTTP, TFTP and ProxyDHCP for what is staged.

``boot_user`` as whom it works · ``host`` what this host must have · ``host_warnings`` what may be in its
way, ``firewall``, ``udp_listeners`` · ``plan`` what it runs by, ``policy`` by what rules ·
``site`` which release's files stand where
· ``script_desk`` who gets which script, ``machine_scripts`` what each machine boots, ``boot_orders`` what
once · ``boot_records`` what is remembered of its boots, ``node_reports`` what it says of them,
``node_questions`` what they ask: ``node_assignments`` what is next, ``next_boots`` to begin it ·
``fleet_lock`` how many at a time, ``rate_limit`` how often, ``receivers`` who takes what they send ·
``install_desk`` as it installs, ``disk_desk`` from its disk · ``leases`` the releases in use ·
``access``, ``forwarded`` who may have what, also behind a reverse proxy ·
``boot_tracker`` which node has fetched what ·
``fleet_service`` for whoever watches it, with ``metrics``: ``metrics_table`` what they are,
``metrics_nodes`` those of nodes, ``metrics_rollouts``, ``metrics_text`` as text · ``rollout_service`` what
leads nodes on · ``shared_state`` what several boot hosts share, ``boot_hosts`` which they are,
``unknown_tokens`` what one of them has not heard of yet · ``reload``, ``signals`` ·
``dnsmasq_service`` dnsmasq in a process of its own · ``run`` puts them together.
"""
