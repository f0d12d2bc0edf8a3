"""The rights of the boot server: those of the user that its state directory belongs to.

Started by root it becomes that user for good (``ectools.privileges`` has the rule): what it opens for a
client is what that user may read, also where a hard link leads to root's file. Of root's rights it keeps

    CAP_NET_BIND_SERVICE   in force: ports below 1024, its own and dnsmasq's
    CAP_NET_ADMIN          out of force: dnsmasq with ProxyDHCP and nft get it when they are started
    CAP_DAC_READ_SEARCH    out of force, but while the settings and the tokens are read

A helper that stays root would save the second alone, and not that with ProxyDHCP. In the module's units the
process that serves HTTP has none of the three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools import log
from ectools.capabilities import Capability, set_capabilities
from ectools.privileges import limit_to_user, work_as_directory_user

if TYPE_CHECKING:
    from collections.abc import Collection

    from ectools.netboot.settings.model import NetbootSettings

_log = log.Log(__name__)

_FOR_DNSMASQ = (Capability.NET_BIND_SERVICE, Capability.NET_ADMIN)


def become_boot_user(settings: NetbootSettings, *, with_dnsmasq: bool) -> Collection[Capability]:
    """Root is from here on the state directory's user; returns what it may hand to dnsmasq.

    Before any thread is started: the others would keep their capabilities. Root stays root in a directory
    that is its own alone, since nobody else may be able to read its boot files. Whoever is not root stays so.
    Raises UnsafeDirectoryError, PrivilegeError.
    """
    for_dnsmasq = _FOR_DNSMASQ if with_dnsmasq else ()
    keep = {Capability.NET_BIND_SERVICE, Capability.DAC_READ_SEARCH, *for_dnsmasq}
    identity = work_as_directory_user(settings.state_dir, settings.tftp_dir, keep=keep)
    if identity is None:
        return ()
    limit_to_user(*keep)
    set_capabilities(effective={Capability.NET_BIND_SERVICE}, permitted=keep)
    _log.info("root does not serve a directory of another's", user=identity.name, uid=identity.uid)
    return for_dnsmasq
