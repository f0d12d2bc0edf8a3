"""A release's netboot.ipxe → what it boots.

NixOS writes the script for a node that loads all by itself (nixos/modules/installer/netboot/netboot.nix):
``kernel bzImage init=/nix/store/… initrd=initrd … ${cmdline}``, ``initrd initrd``, ``boot``. What is served
is a script of our own, so what this one says must be understood in full, or rejected.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NoReturn

from ectools.errors import EcError, cut, show_list
from ectools.ipxe.language import (
    NETBOOT_NAME,
    ScriptLine,
    goes_on,
    is_argument,
    is_file_name,
    is_script,
    read_lines,
    split_options,
)
from ectools.netboot.release.manifest import BootEntry
from ectools.netboot.release.store_image import BESIDE_SCRIPT, STORE_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

MAX_SCRIPT_BYTES = 64 << 10

_KERNEL_NAMES = ("bzImage", "Image", "zImage", "vmlinuz", "vmlinux")
"""What NixOS calls the kernel in the script, by platform; in a release the file may be ``kernel``."""

# Settings that a node has without anybody's `set`: https://ipxe.org/cfg
_SETTING = re.compile(
    r"\$\{(cmdline|uuid|serial|asset|manufacturer|product|platform|buildarch"
    r"|(net[0-9X]+/)?(mac|ip|netmask|gateway|dns|hostname|domain))(:[a-z0-9]+)?\}"
)
_IGNORED = frozenset({"dhcp", "echo", "imgfree"})
"""Commands that say nothing of what is booted."""


class BootEntryError(EcError):
    """A release's netboot.ipxe cannot be used, or what it boots; the message holds the line."""


def read_boot_entry(directory: Path, sizes: Mapping[str, int], *, where: str) -> BootEntry:
    """What the netboot.ipxe in ``directory`` boots, of files that are not empty. ``sizes``: name → bytes.

    ``where`` names the release's archive, or the directory, in messages. Raises BootEntryError, OSError.
    """
    with (directory / NETBOOT_NAME).open("rb") as file:
        script = file.read(MAX_SCRIPT_BYTES + 1)
    try:
        boot = parse_boot_entry(script, sizes)
    except BootEntryError as error:
        raise BootEntryError(f"{where}: {error.message}", hint=error.hint) from error
    images: dict[str, Collection[str]] = {"kernel": [boot.kernel], "initrd": boot.initrds}
    if BESIDE_SCRIPT in boot.arguments:
        images["store's image"] = [STORE_NAME]
    for kind, names in images.items():
        for name in names:
            if sizes[name] == 0:
                raise BootEntryError(
                    f"{where}: the {kind} {name} is empty: no machine could boot it",
                    hint="a disk that was full when it was built leaves such a file: build it anew",
                )
    return boot


def parse_boot_entry(script: bytes, files: Collection[str]) -> BootEntry:
    """The kernel, its arguments and the initrds, as names of ``files``. Raises BootEntryError.

    A name may be absolute, and the kernel may have NixOS's name for it where the file is called ``kernel``.
    What is returned is what the script that is served can say.
    """
    if len(script) > MAX_SCRIPT_BYTES:
        raise BootEntryError(f"{NETBOOT_NAME}: larger than {MAX_SCRIPT_BYTES} bytes: no boot script")
    try:
        text = script.decode()
    except UnicodeDecodeError as error:
        raise BootEntryError(f"{NETBOOT_NAME}: not UTF-8: {error.reason}") from error
    if not is_script(script + b"\n"):
        raise BootEntryError(f"{NETBOOT_NAME}:1: an iPXE script begins with the line #!ipxe")
    parser = _Parser(files)
    for line in read_lines(text):
        parser.read(line)
    return parser.finish()


class _Parser:
    def __init__(self, files: Collection[str]) -> None:
        self._files = files
        self._line = 0
        self._text = ""
        self._kernel: str | None = None
        self._arguments: tuple[str, ...] = ()
        self._initrds: list[str] = []
        self._boots = False

    def read(self, line: ScriptLine) -> None:
        self._line, self._text = line.number, line.text.strip()
        words = [*([] if line.label is None else [f":{line.label}"]), *line.words]
        if not words or words[0] in _IGNORED:
            return
        if self._boots:
            self._reject("a command stands after boot, which does not return")
        if words[0] == "kernel":
            self._read_kernel(words[1:])
        elif words[0] == "initrd":
            self._read_initrd(words[1:])
        elif words[0] == "boot":
            if words[1:] not in ([], [self._kernel]):
                self._reject("boot with arguments is not supported")
            self._boots = True
        else:
            self._reject(f"the command {cut(words[0])} is not supported: kernel, initrd and boot are")

    def finish(self) -> BootEntry:
        if self._kernel is None or not self._boots:
            missing = "kernel" if self._kernel is None else "boot"
            raise BootEntryError(f"{NETBOOT_NAME}: has no {missing} command")
        files = [self._kernel, *self._initrds]
        if len({posixpath.basename(name) for name in files}) != len(files):
            raise BootEntryError(
                f"{NETBOOT_NAME}: boots several files of one name, and iPXE knows images by name"
            )
        if self._arguments and goes_on(self._arguments[-1]):
            raise BootEntryError(f"{NETBOOT_NAME}: the kernel's last argument ends in a backslash")
        images = {posixpath.basename(name) for name in self._initrds} | {"initrd.magic"}
        for argument in self._arguments:
            key, separator, name = argument.partition("=")
            if key == "initrd" and separator and name not in images:
                raise BootEntryError(
                    f"{NETBOOT_NAME}: the kernel is told {cut(argument)}, and no such initrd is loaded"
                )
        return BootEntry(kernel=self._kernel, arguments=self._arguments, initrds=tuple(self._initrds))

    def _read_kernel(self, words: list[str]) -> None:
        if self._kernel is not None:
            self._reject("a second kernel")
        name, arguments = self._take_name(words, "kernel")
        self._kernel = self._find_file(name, others=("kernel",) if name in _KERNEL_NAMES else ())
        for argument in arguments:
            if argument in ("||", "&&"):
                self._reject("conditions are not supported")
            if argument == BESIDE_SCRIPT:
                self._find_file(STORE_NAME, others=())
                continue
            if "${" in _SETTING.sub("", argument):
                self._reject(f"{cut(argument)} has a variable that only a script of your own could have set")
            if not is_argument(argument):
                self._reject(f"{cut(repr(argument))} is not printable ASCII, or ends the command in iPXE")
        self._arguments = tuple(arguments)

    def _read_initrd(self, words: list[str]) -> None:
        name, rest = self._take_name(words, "initrd")
        if rest:
            self._reject(f"an initrd with arguments ({cut(' '.join(rest))}) is not supported")
        file = self._find_file(name, others=())
        if file in self._initrds:
            self._reject(f"the initrd {cut(name)} a second time")
        self._initrds.append(file)

    def _take_name(self, words: list[str], command: str) -> tuple[str, list[str]]:
        """The image's name, and what stands after it. ``--name`` may only say what iPXE would say without."""
        options, rest = split_options(words)
        for option in options:
            if option not in ("-n", "--name"):
                self._reject(f"the option {cut(option)} is not supported")
        if not rest:
            self._reject(f"{command} names no file")
        name = rest[0].removeprefix("/")
        if any(given != posixpath.basename(name) for given in options.values()):
            self._reject("an image under another name is not supported")
        return name, rest[1:]

    def _find_file(self, name: str, *, others: tuple[str, ...]) -> str:
        if "${" in name or "://" in name:
            self._reject(f"{cut(name)} is no file of the release: a plain name was expected")
        candidates = (name, *others, posixpath.basename(name))
        found = next((candidate for candidate in candidates if candidate in self._files), None)
        if found is None:
            self._reject(f"{cut(name)} is not in the release, which has {show_list(sorted(self._files))}")
        if not is_file_name(found):
            self._reject(f"the name {cut(repr(found))} has other characters than letters, digits and . _ -")
        return found

    def _reject(self, reason: str) -> NoReturn:
        raise BootEntryError(f"{NETBOOT_NAME}:{self._line}: {reason}\n  {cut(self._text)}")
