"""What a node is to boot of a staged release, and which that has not: the node would wait, and ask again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.errors import EcError, show_list
from ectools.netboot.release.installed_systems import NoInstalledSystemError, choose_root

if TYPE_CHECKING:
    from ectools.netboot.api.releases import StagedRelease
    from ectools.netboot.fleet.assignment import Assignment


class LackingReleaseError(EcError):
    """A release has not what a node is to boot."""


def check_release(assignment: Assignment, staged: StagedRelease) -> None:
    """Raises LackingReleaseError where ``staged``, the assignment's release, has nothing for the node.

    What its machine's architecture decides is not known before it asks.
    """
    if not assignment.boot.is_over_network:
        return
    title = staged.tag or staged.id
    system = assignment.system
    if system is not None and system not in staged.systems:
        raise LackingReleaseError(
            f"{title} has no system {system}", hint=f"it has {show_list(staged.systems)}"
        )
    if assignment.install is None:
        return
    # Which of several systems a machine boots to install is told by its architecture: one has to do.
    lacks: list[NoInstalledSystemError] = []
    for each in staged.systems if system is None else (system,):
        try:
            choose_root(staged.installable.get(each, ()), assignment.install.system, title=title)
        except NoInstalledSystemError as error:
            lacks.append(error)
        else:
            return
    if lacks:
        raise LackingReleaseError(lacks[0].message, hint=lacks[0].hint)


def find_lack(assignment: Assignment, staged: StagedRelease | None) -> str | None:
    """Why a node would wait, in words; None: it would not, or its release is not staged."""
    try:
        if staged is not None:
            check_release(assignment, staged)
    except LackingReleaseError as error:
        return error.message
    return None
