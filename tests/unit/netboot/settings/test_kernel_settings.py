"""What the settings ask of the kernel."""

from __future__ import annotations

from dataclasses import replace

from ectools.netboot.settings.kernel_settings import list_kernel_settings
from ectools.netboot.settings.load import load_netboot_settings


def test_what_is_asked_of_the_kernel() -> None:
    settings = load_netboot_settings(None, environment={})
    assert list_kernel_settings(settings) == {
        "net.core.rmem_default": 8388608,
        "net.ipv4.neigh.default.gc_thresh2": 4096,
        "net.ipv4.neigh.default.gc_thresh3": 8192,
    }
    none = replace(settings, max_neighbours=None, tftp=replace(settings.tftp, receive_buffer=None))
    assert list_kernel_settings(none) == {}
