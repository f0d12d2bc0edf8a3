"""The user as whom the runner works, and with it QEMU: never root.

Root's runner becomes the user that the guest's directories belong to. In directories of root's own it becomes
the service's user, which needs the directories to be its: not ``nobody``, whose processes and files others
share.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from ectools import log
from ectools.capabilities import (
    Capability,
    PrivilegeError,
    drop_for_children,
)
from ectools.files import FileError
from ectools.privileges import Identity, drop_privileges, find_directory_user, find_user, limit_to_user
from ectools.vm.kvm import DEVICE
from ectools.vm.settings import GUEST_OPTIONS, KvmPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.vm.settings import GuestSettings

_log = log.Log(__name__)

SERVICE_USER = "every-channel-ipxe-qemu"
"""The user of the NixOS module's unit."""


def become_guest_user(settings: GuestSettings) -> None:
    """From here on, and for good, the process has the rights that the guest's files take, and no more.

    What the macvtap link needs is kept out of force (``raised`` brings it back for a moment); all else goes.
    Raises UnsafeDirectoryError, PrivilegeError, FileError.
    """
    kept = (Capability.NET_ADMIN, Capability.DAC_OVERRIDE) if settings.lan is not None else ()
    if os.geteuid() == 0:
        identity = _find_guest_user(settings)
        drop_privileges(identity, keep=(*kept, Capability.DAC_READ_SEARCH))
        _log.info("root does not run the guest", user=identity.name, uid=identity.uid)
    else:
        drop_for_children()
    limit_to_user(*kept)


def _find_guest_user(settings: GuestSettings) -> Identity:
    directories = (settings.state_dir, settings.disk.path.parent, settings.boot.user_net.tftp_dir)
    identity = find_directory_user(*directories)
    if identity.uid != 0:
        return _with_kvm(settings, identity)
    user = find_user(SERVICE_USER)
    if user is None:
        raise PrivilegeError(
            f"{settings.state_dir}: is root's, and QEMU does not run as root",
            hint=f"give it to an unprivileged user (chown -R USER {settings.state_dir}), or make one for it: "
            f"useradd --system {SERVICE_USER}",
        )
    if not settings.state_dir.exists():
        _make_directory(settings.state_dir, user)
    if find_directory_user(*directories) != user:
        raise PrivilegeError(
            f"{settings.state_dir}: is root's, and QEMU runs as {SERVICE_USER}",
            hint=f"chown -R {SERVICE_USER} {settings.state_dir}; the same for the directories of "
            f"{GUEST_OPTIONS}.disk.path and boot.userNet.tftpDir",
        )
    return _with_kvm(settings, user)


def _make_directory(directory: Path, user: Identity) -> None:
    """On a way that only root may write, so that nobody puts another in its place meanwhile."""
    try:
        directory.mkdir(mode=0o750, parents=True)
        os.chown(directory, user.uid, user.gid, follow_symlinks=False)
    except OSError as error:
        raise FileError(
            f"{directory}: cannot be made: {error.strerror}", hint=f"{GUEST_OPTIONS}.stateDir names it"
        ) from error


def _with_kvm(settings: GuestSettings, user: Identity) -> Identity:
    """With the group that ``/dev/kvm`` is open to (kvm, mostly), as in the module's unit; never root's."""
    try:
        device = os.stat(DEVICE)  # noqa: PTH116 - a device's name, not a path of ours
    except OSError:
        return user
    if settings.kvm is KvmPolicy.NEVER or device.st_gid == 0 or device.st_mode & 0o060 != 0o060:
        return user
    return replace(user, groups=(*user.groups, device.st_gid))
