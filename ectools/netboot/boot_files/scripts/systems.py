"""The systems of a release in the second stage: which one a machine is given, its files, its boot.

The steps of all systems are numbered on: ``file_0`` to ``file_2`` load the kernel and the initrd of the first
one, and start it; ``file_3`` is the kernel of the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.ipxe.language import LACKS_VARIABLE, goes_on, is_file_name
from ectools.ipxe.urls import FAILURE_MARK
from ectools.netboot.boot_files.scripts.checked import ScriptError, check_file_name, check_kernel_argument
from ectools.netboot.boot_files.scripts.fetching import find_sources
from ectools.netboot.kernel import IA32_UEFI, KERNELS_BY_BUILD
from ectools.netboot.release.store_image import BESIDE_SCRIPT, STORE_NAME, build_store_argument
from ectools.netboot.release.systems import choose_system

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ectools.netboot.release.manifest import Release, System
    from ectools.netboot.settings.model import NetbootSettings

# An iPXE that does not know the setting is older than those for other processors than x86.
_BUILDS = {"": "i386", **{build: build for build in KERNELS_BY_BUILD}}


@dataclass(frozen=True, kw_only=True)
class ScriptSystem:
    """A system as the script boots it. ``first`` is the number of its first step.

    ``names`` are its images', the kernel's first; ``builds`` the values of ``${ec-build}`` that it is for;
    ``protected`` says for each file whether it asks for the token; ``arguments`` are the kernel's.
    """

    system: System
    builds: tuple[str, ...]
    first: int
    names: tuple[str, ...]
    protected: tuple[bool, ...]
    arguments: tuple[str, ...]

    @property
    def is_protected(self) -> bool:
        """Whether any of its files asks for the token."""
        return any(self.protected)

    @property
    def files(self) -> tuple[str, ...]:
        """The kernel and the initrds, as names of the release's files."""
        return (self.system.boot.kernel, *self.system.boot.initrds)

    def render(
        self, release: Release, *, token_is_sent: bool, title: str, before_boot: Sequence[str]
    ) -> Iterator[str]:
        """The steps: each file, which the script's block ``fetch`` loads, and the boot of whom it is of."""
        for index, (file, name) in enumerate(zip(self.files, self.names, strict=True)):
            yield f":file_{self.first + index}"
            yield f"set ec-name {name}"
            yield f"set ec-path /releases/{release.id}/{file}"
            yield f"set ec-sum {release.files[file].sha256}"
            if token_is_sent:
                yield f"set ec-how {'${ec-token}' if self.protected[index] else 'open'}"
            yield "goto fetch"
        kernel = self.names[0]
        yield f":file_{self.first + len(self.names)}"
        yield " ".join(["imgargs", kernel, *self.arguments])
        yield from before_boot
        yield f"echo every.channel: {title}{': ' if title else ''}starting {release.id}"
        yield f"imgexec {kernel} ||"
        yield f"echo {FAILURE_MARK} {kernel}: loaded, but does not start (https://ipxe.org/${{errno:hexraw}})"
        yield "goto end"


def build_systems(
    settings: NetbootSettings,
    release: Release,
    *,
    only: str | None = None,
    build: str | None = None,
    more: Sequence[str] = (),
) -> list[ScriptSystem]:
    """The systems that machines are given, checked: all, or ``only`` one. Raises ScriptError.

    One whose architecture is not known is everybody's: then ``builds`` of it is empty. ``build``: the machine
    is known to have such an iPXE, and there has to be a system for it. ``more`` are arguments of the kernel,
    after the system's own.
    """
    offered = [each for each in release.systems if only in (None, each.name)]
    if not offered:
        raise ScriptError(f"{release.title} has no system {only}: it has {_show_all(release)}")
    if len(offered) == 1 and offered[0].architecture is None:
        return [_build(settings, release, offered[0], builds=(), first=0, more=more)]
    chosen: dict[str, list[str]] = {}
    for value, each_build in _BUILDS.items():
        system = choose_system(offered, each_build, settings.release.systems)
        if system is not None:
            chosen.setdefault(system.name, []).append(value)
    built: list[ScriptSystem] = []
    for system in release.systems:
        if system.name in chosen:
            first = built[-1].first + len(built[-1].names) + 1 if built else 0
            builds = tuple(chosen[system.name])
            built.append(_build(settings, release, system, builds=builds, first=first, more=more))
    # Of 32-bit x86 the script finds out which of the two it is.
    own = {build, IA32_UEFI} if build == "i386" else {build}
    if build in KERNELS_BY_BUILD and not any(own.intersection(each.builds) for each in built):
        has = ", ".join(f"{_show(each.name)} is for {each.architecture}" for each in offered)
        raise ScriptError(f"{release.title} has nothing for this machine, whose iPXE is for {build}: {has}")
    return built


def choose_by_build(systems: list[ScriptSystem], release: Release) -> Iterator[str]:
    """The branch on the machine's build, and the readable error where the release has no system for it."""
    if systems and not systems[0].builds:
        yield from _begin(systems[0])
        return
    yield "set ec-build ${buildarch}"
    yield f"iseq ${{buildarch}}-${{platform}} {IA32_UEFI} && set ec-build {IA32_UEFI} ||"
    yield "goto system_${ec-build} ||"
    has = ", ".join(_show(each.system.name) for each in systems) or _show_all(release)
    yield f"set {LACKS_VARIABLE} ${{ec-build}}"
    yield f"echo {FAILURE_MARK} this release has no system for ${{ec-build}}: it has {has}"
    yield "goto end"
    for each in systems:
        yield from (f":system_{build}" for build in each.builds)
        yield from _begin(each)


def _begin(system: ScriptSystem) -> Iterator[str]:
    yield f"set ec-file:int32 {system.first}"
    yield f"goto file_{system.first}"


def _build(
    settings: NetbootSettings,
    release: Release,
    system: System,
    *,
    builds: tuple[str, ...],
    first: int,
    more: Sequence[str],
) -> ScriptSystem:
    boot = system.boot
    given = (
        _name_stores(settings, release, system) if each == BESIDE_SCRIPT else each for each in boot.arguments
    )
    arguments = (*given, *more)
    files = (boot.kernel, *boot.initrds)
    names = tuple(check_file_name(file).rpartition("/")[2] for file in files)
    if len(set(names)) != len(names):
        raise ScriptError(f"{release.id}: boots several files of one name, and iPXE knows images by name")
    for argument in arguments:
        check_kernel_argument(argument)
    if arguments and goes_on(arguments[-1]):
        raise ScriptError(f"{release.id}: the kernel's last argument ends in a backslash")
    return ScriptSystem(
        system=system,
        builds=builds,
        first=first,
        names=names,
        arguments=arguments,
        protected=tuple(release.name_in_archive(file) in settings.protected_files for file in files),
    )


def _name_stores(settings: NetbootSettings, release: Release, system: System) -> str:
    """Where the system's stage 1 finds its Nix store: at each source of the release's files."""
    name = STORE_NAME if len(release.systems) == 1 else f"{system.name}/{STORE_NAME}"
    if name not in release.files:
        raise ScriptError(f"{release.title} has no {name}, which the system's stage 1 asks for")
    if STORE_NAME in settings.protected_files:
        raise ScriptError(
            f"{STORE_NAME} is among protectedFiles, and the stage 1 that fetches it has no token",
            hint="what it fetches is checked by what its initrd knows: protect the initrd instead",
        )
    return build_store_argument(
        f"{source}/releases/{release.id}/{check_file_name(name)}".replace(",", "%2C")
        for source in find_sources(settings)
    )


def _show_all(release: Release) -> str:
    return ", ".join(_show(each.name) for each in release.systems)


def _show(system: str) -> str:
    """An archive may be called as it likes: a name that cannot stand in the script is not shown."""
    return system if is_file_name(system) else "one of another name"
