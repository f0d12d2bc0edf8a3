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
from ectools.ipxe.language import NETBOOT_NAME
from ectools.netboot.release.manifest import BootEntry

if TYPE_CHECKING:
    from collections.abc import Collection

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

# Names become images' names and parts of URLs: nothing in them that any iPXE encodes.
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*", re.ASCII)
# ec-… are the variables of the script that is served.
_ARGUMENT = re.compile(r"(?:\$\{(?!ec-)[A-Za-z0-9/.:_-]+\}|\$(?!\{)|[!-#%-~])+", re.ASCII)
_TERMINATORS = frozenset({"||", "&&", ";"})
"""Words that end a command of iPXE (src/core/exec.c)."""


class BootEntryError(EcError):
    """A release's netboot.ipxe cannot be used; the message holds the line."""


def is_bootable_name(name: str) -> bool:
    """Whether a boot script can name this file of a release."""
    return _FILE.fullmatch(name) is not None


def is_script_argument(argument: str) -> bool:
    """Whether a boot script can hold this argument of the kernel, and iPXE takes it for one."""
    plain = _ARGUMENT.fullmatch(argument) is not None
    return plain and argument not in _TERMINATORS and not argument.startswith("#")


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
    if not re.match(r"#!ipxe\s", text + "\n"):
        raise BootEntryError(f"{NETBOOT_NAME}:1: an iPXE script begins with the line #!ipxe")
    parser = _Parser(files)
    for number, line in _join_lines(text):
        parser.read(number, line)
    return parser.finish()


def _join_lines(text: str) -> list[tuple[int, str]]:
    """Lines with their numbers, from 1; one that ends in a backslash goes on in the next."""
    joined: list[tuple[int, str]] = []
    goes_on = False
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r")
        if goes_on:
            first, begun = joined.pop()
            joined.append((first, begun[:-1] + line))
        else:
            joined.append((number, line))
        goes_on = line.endswith("\\")
    return joined


def _drop_comment(words: list[str]) -> list[str]:
    """iPXE reads no further than a word that begins with ``#``."""
    return words[: next((index for index, word in enumerate(words) if word.startswith("#")), None)]


class _Parser:
    def __init__(self, files: Collection[str]) -> None:
        self._files = files
        self._line = 0
        self._text = ""
        self._kernel: str | None = None
        self._arguments: tuple[str, ...] = ()
        self._initrds: list[str] = []
        self._boots = False

    def read(self, number: int, line: str) -> None:
        self._line, self._text = number, line.strip()
        words = _drop_comment(self._text.split())
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
        if self._arguments and self._arguments[-1].endswith("\\"):
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
            if "${" in _SETTING.sub("", argument):
                self._reject(f"{cut(argument)} has a variable that only a script of your own could have set")
            if not is_script_argument(argument):
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
        given = None
        while words and words[0].startswith("-"):
            option, separator, value = words[0].partition("=")
            if option not in ("-n", "--name"):
                self._reject(f"the option {cut(option)} is not supported")
            given, words = (value, words[1:]) if separator else (" ".join(words[1:2]), words[2:])
        if not words:
            self._reject(f"{command} names no file")
        name = words[0].removeprefix("/")
        if given not in (None, posixpath.basename(name)):
            self._reject("an image under another name is not supported")
        return name, words[1:]

    def _find_file(self, name: str, *, others: tuple[str, ...]) -> str:
        if "${" in name or "://" in name:
            self._reject(f"{cut(name)} is no file of the release: a plain name was expected")
        candidates = (name, *others, posixpath.basename(name))
        found = next((candidate for candidate in candidates if candidate in self._files), None)
        if found is None:
            self._reject(f"{cut(name)} is not in the release, which has {show_list(sorted(self._files))}")
        if not is_bootable_name(found):
            self._reject(f"the name {cut(repr(found))} has other characters than letters, digits and . _ -")
        return found

    def _reject(self, reason: str) -> NoReturn:
        raise BootEntryError(f"{NETBOOT_NAME}:{self._line}: {reason}\n  {cut(self._text)}")
