"""iPXE's script language: lines and labels, words, commands and what joins them, options, variables, URIs.

The one lexer of those that write scripts, read a release's or go through one. It follows iPXE's source:
src/image/script.c (lines, labels, the first line), src/core/exec.c (words, comments, what ends a command),
src/core/getopt.c (options), src/core/settings.c (``expand_settings``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

AUTOEXEC_NAME = "autoexec.ipxe"
"""What a UEFI iPXE looks for in the directory that it came from (https://ipxe.org/howto/dhcpd)."""
NETBOOT_NAME = "netboot.ipxe"
"""What NixOS calls the boot script of a netboot output, and this project the second stage."""
OWN_PREFIX = "ec-"
"""What the variables of this project's scripts begin with."""
LACKS_VARIABLE = f"{OWN_PREFIX}lacks"
"""Is set by the second stage to the ``${buildarch}`` (or i386-efi) that the release has no system for."""
UNBOOTED_VARIABLE = f"{OWN_PREFIX}unbooted"
"""Is set by a second stage that boots no release, because the fleet says so: to hold, refuse, or disk."""
EXIT_VARIABLE = f"{OWN_PREFIX}exit"
"""What the second stage wants the first one to exit with."""

TERMINATORS = frozenset({"||", "&&", ";"})
"""Words that end a command: the next one runs where it failed, where it succeeded, in either case."""
SCRIPT_VARIABLE = re.compile(r"\$\{((?:(?!\$\{)[^}])*)\}")
"""A variable that iPXE expands next: of nested ones the innermost. Its group is the name, with its type."""

_SCRIPT = re.compile(rb"#![ig]pxe\s")
# isspace() of iPXE; str.split() knows more blanks.
_BLANKS = re.compile(r"[ \t\n\v\f\r]+")
# Printable ASCII without blanks; a ${ only as a whole variable.
_WORD = re.compile(r"(?:\$\{[A-Za-z0-9/.:_-]+\}|\$(?!\{)|[!-#%-~])+", re.ASCII)
# Names become images' names and parts of URLs: nothing in them that any iPXE encodes.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*", re.ASCII)
# Options that take a value, of the commands that are gone through; all others are flags.
_VALUED = frozenset(
    {
        *("--name", "-n", "--timeout", "-t", "--params", "-p", "--key", "-k"),
        *("--menu", "-m", "--default", "-d", "--set", "-s", "--configurator", "-c"),
    }
)


def is_script(data: bytes) -> bool:
    """Whether iPXE takes the file for a script."""
    return _SCRIPT.match(data) is not None


@dataclass(frozen=True, kw_only=True)
class ScriptLine:
    """A line of a script; lines that backslashes join are one.

    ``number`` is its first one's, from 1. ``label`` is None where it has none. ``words`` are those behind
    the label, as far as a comment.
    """

    number: int
    text: str
    label: str | None
    words: tuple[str, ...]

    @property
    def is_unfinished(self) -> bool:
        """Whether the script ends behind a backslash, which iPXE takes for an error."""
        return goes_on(self.text)


def goes_on(line: str) -> bool:
    """Whether the next line belongs to it: it ends in a backslash."""
    return line.endswith("\\")


def read_lines(script: str) -> Iterator[ScriptLine]:
    """The lines of a script, in their order. Raises nothing: any text has lines."""
    begun, first = "", 1
    fragments = script.removesuffix("\n").split("\n")
    for number, fragment in enumerate(fragments, start=1):
        line = (begun + fragment).removesuffix("\r")
        if goes_on(line):
            begun = line[:-1]
            continue
        yield _read_line(first, line)
        begun, first = "", number + 1
    if first <= len(fragments):
        yield _read_line(first, begun + "\\")


def _read_line(number: int, text: str) -> ScriptLine:
    words = split_words(text)
    label = None
    if words and words[0].startswith(":"):
        label, words = words[0][1:], words[1:]
    comment = next((index for index, word in enumerate(words) if word.startswith("#")), None)
    return ScriptLine(number=number, text=text, label=label, words=tuple(words[:comment]))


def find_labels(lines: Iterable[ScriptLine]) -> dict[str, int]:
    """Label → the index of its line; the first of a name counts."""
    labels: dict[str, int] = {}
    for index, line in enumerate(lines):
        if line.label is not None:
            labels.setdefault(line.label, index)
    return labels


def split_words(text: str) -> list[str]:
    """The words of a line: what stands between blanks of iPXE's ``isspace``."""
    return [word for word in _BLANKS.split(text) if word]


def split_commands(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """(the terminator before it, the command's words), before variables are expanded.

    ``chain … ||`` at a line's end is followed by a command of no words, which does nothing and succeeds.
    """
    terminator, command = "", list[str]()
    for word in words:
        if word in TERMINATORS:
            yield terminator, command
            terminator, command = word, []
        else:
            command.append(word)
    yield terminator, command


def split_options(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Options up to the first word that is none, each with its value (a flag's is empty), and the rest.

    An option that wants a value does not take a word that begins with ``-`` for it; the last of a name
    counts. Letters may share a dash (``-qa``), and a value follow its letter (``-t500``).
    """
    options: dict[str, str] = {}
    left = list(words)
    while left and left[0].startswith("-"):
        word = left.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            options[name] = value if equals or name not in _VALUED else _take_value(left)
            continue
        letters = word[1:]
        options |= {} if letters else {"-": ""}
        while letters:
            name, letters = f"-{letters[0]}", letters[1:]
            if name in _VALUED:
                options[name] = letters or _take_value(left)
                break
            options[name] = ""
    return options, left


def _take_value(left: list[str]) -> str:
    return left.pop(0) if left and not left[0].startswith("-") else ""


def is_word(text: str) -> bool:
    """Whether iPXE reads it as one word of a command, of printable ASCII, with whole variables at most.

    A word that ends in a backslash is one too, unless it is the line's last.
    """
    return _WORD.fullmatch(text) is not None and text not in TERMINATORS and not text.startswith("#")


def is_argument(text: str) -> bool:
    """Whether a script of this project's can pass it on: a word, without a variable of its own."""
    return is_word(text) and f"${{{OWN_PREFIX}" not in text


def is_file_name(name: str) -> bool:
    """Whether it can name an image, and be a path below a base URL, in every iPXE."""
    return _FILE_NAME.fullmatch(name) is not None


def join_uri(base: str, uri: str) -> str:
    """``uri`` as seen from ``base``, for any scheme."""
    if "://" in uri:
        return uri
    scheme, _, rest = base.partition("://")
    host, _, path = rest.partition("/")
    if uri.startswith("/"):
        return f"{scheme}://{host}{uri}"
    directory = path.partition("?")[0].rpartition("/")[0]
    return f"{scheme}://{host}/{directory}/{uri}" if directory else f"{scheme}://{host}/{uri}"


def name_image(uri: str) -> str:
    """The name that an image has by default: the last part of its path."""
    return uri.rpartition("/")[2].partition("?")[0]
