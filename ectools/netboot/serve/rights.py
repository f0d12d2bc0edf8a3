"""With what rights the boot server works: those of the user that its state folder belongs to.

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
from ectools.capabilities import Capability, raised, set_capabilities
from ectools.credentials import CHAIN_TOKEN, find_secret
from ectools.files import FileError
from ectools.netboot.access import read_chain_tokens
from ectools.netboot.settings import OPTION_PREFIX
from ectools.privileges import limit_to_user, root_reads, work_as_folder_user

if TYPE_CHECKING:
    from collections.abc import Collection

    from ectools.netboot.settings import Settings

_log = log.Log(__name__)

_FOR_DNSMASQ = (Capability.NET_BIND_SERVICE, Capability.NET_ADMIN)


def become_boot_user(settings: Settings, *, with_dnsmasq: bool) -> Collection[Capability]:
    """Root is from here on the state folder's user; returns what it may hand to dnsmasq.

    Before any thread is started: the others would keep their capabilities. Root stays root in a folder that
    is its own alone, since nobody else may be able to read its boot files. Whoever is not root stays so.
    Raises UnsafeFolderError, PrivilegeError.
    """
    for_dnsmasq = _FOR_DNSMASQ if with_dnsmasq else ()
    keep = {Capability.NET_BIND_SERVICE, Capability.DAC_READ_SEARCH, *for_dnsmasq}
    identity = work_as_folder_user(settings.state_dir, settings.tftp_dir, keep=keep)
    if identity is None:
        return ()
    limit_to_user(*keep)
    set_capabilities(effective={Capability.NET_BIND_SERVICE}, permitted=keep)
    _log.info("root does not serve a folder of another's", user=identity.name, uid=identity.uid)
    return for_dnsmasq


def read_tokens_of_root(settings: Settings) -> tuple[str, ...]:
    """``read_chain_tokens``, of a file that is root's alone too. Raises FileError and InputError."""
    if settings.chain_token_file is None:
        return ()
    with raised(Capability.DAC_READ_SEARCH):  # the service manager's copy may lie where only root looks
        file = find_secret(settings.chain_token_file, credential=CHAIN_TOKEN)
    try:
        with root_reads(file):
            return read_chain_tokens(settings)
    except FileError as error:
        raise FileError(
            error.message,
            hint=f"{OPTION_PREFIX}.chainTokenFile is a file that the state folder's user may read, or one of "
            "root's in a folder that root alone may write",
        ) from error
