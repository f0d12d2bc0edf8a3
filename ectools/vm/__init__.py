"""The guest runner.

``settings``, ``checks``, ``build``, ``load`` what is to be run · ``runner`` a guest's life: ``guest_user`` as
whom, ``boot_script``, ``boot_file`` and ``boot_root`` what it boots from, which ``store_hold`` keeps,
``disk``, ``macvtap`` (as ``link_record`` notes), ``loopback`` and ``loopback_filter`` what of this host it
reaches, then ``supervise`` · ``argv``, ``optstring`` QEMU's arguments, ``qemu_errors`` what it has against
them · ``guest`` one QEMU, ``qmp`` how it is spoken to · ``boot_server`` the HTTP server as a child,
``child_environment`` of both · ``watch`` what ends a run, ``health`` whether it is alive, ``kvm`` and
``progress`` of the first boot, ``stop`` the end · ``status_line`` for systemctl.
"""
