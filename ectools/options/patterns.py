"""POSIX extended regular expressions, as ``builtins.match`` takes them, in the syntax of JSON Schema.

``builtins.match`` anchors at both ends; ``.`` matches a newline too. It works on bytes, so a ``.`` there
takes one byte of a character outside ASCII: that difference stays.
"""

from __future__ import annotations

# https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap09.html, in the POSIX locale.
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t-\r ",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_SYNTAX = frozenset("^$\\.*+?()[]{}|")
_ESCAPABLE = _SYNTAX - {"]", "}"}
_CONTROL = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\f": r"\f", "\v": r"\v"}


class PatternError(ValueError):
    """The expression is not one of POSIX's, or cannot be written in JSON Schema's syntax."""


def anchored(expression: str) -> str:
    """A pattern that a validator finds in just what ``builtins.match expression`` matches.

    Raises PatternError.
    """
    return f"^(?:{translate(expression)})$(?!\\n)"


def translate(expression: str) -> str:
    """The same expression in the common ground of ECMA-262 (``u`` flag) and Python, not anchored."""
    return _Translator(expression).run()


def literal(char: str) -> str:
    """One character that stands for itself, outside brackets."""
    if char in _SYNTAX:
        return "\\" + char
    return _CONTROL.get(char, char)


class _Translator:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.at = 0
        self.done: list[str] = []
        self.atom: int | None = None  # where in `done` the last atom starts; None: nothing to repeat
        self.repeated = False
        self.groups: list[int] = []

    def run(self) -> str:
        while self.at < len(self.expression):
            self._step(self.expression[self.at])
        if self.groups:
            raise PatternError("a group is not closed")
        return "".join(self.done)

    def _step(self, char: str) -> None:
        self.at += 1
        match char:
            case "\\":
                self._escape()
            case ".":
                self._put(r"[\s\S]")
            case "[":
                self._put(self._bracket())
            case "(":
                self.groups.append(len(self.done))
                self.done.append("(?:")
                self.atom = None
            case ")":
                if not self.groups:
                    raise PatternError("a closing parenthesis without its opening one")
                start = self.groups.pop()
                self.done.append(")")
                self.atom, self.repeated = start, False
            case "|" | "^":
                self.done.append(char)
                self.atom = None
            case "$":
                self.done.append(r"$(?!\n)")
                self.atom = None
            case "*" | "+" | "?":
                self._repeat(char)
            case "{":
                self._repeat(self._interval())
            case _:
                self._put(literal(char))

    def _put(self, text: str) -> None:
        self.atom, self.repeated = len(self.done), False
        self.done.append(text)

    def _escape(self) -> None:
        if self.at == len(self.expression) or self.expression[self.at] not in _ESCAPABLE:
            raise PatternError("a backslash before a character that it means nothing for")
        self._put(literal(self.expression[self.at]))
        self.at += 1

    def _repeat(self, quantifier: str) -> None:
        if self.atom is None:
            raise PatternError(f"nothing before {quantifier} to repeat")
        if self.repeated:
            # `a*?` is lazy, and `a*+` possessive or an error, in both target syntaxes.
            self.done.insert(self.atom, "(?:")
            self.done.append(")")
        self.done.append(quantifier)
        self.repeated = True

    def _interval(self) -> str:
        end = self.expression.find("}", self.at)
        inside = self.expression[self.at : end]
        low, comma, high = inside.partition(",")
        if end < 0 or not low.isdecimal() or (high and not high.isdecimal()):
            raise PatternError("an interval that is not {n}, {n,} or {n,m}")
        if high and int(high) < int(low):
            raise PatternError("an interval whose end is before its start")
        self.at = end + 1
        return f"{{{low}{comma}{high}}}"

    def _bracket(self) -> str:
        parts: list[str] = []
        negated = self.expression.startswith("^", self.at)
        self.at += negated
        first = True
        while True:
            if self.at >= len(self.expression):
                raise PatternError("a bracket expression is not closed")
            if self.expression[self.at] == "]" and not first:
                self.at += 1
                return f"[{'^' if negated else ''}{''.join(parts)}]"
            first = False
            parts.append(self._bracket_item())

    def _bracket_item(self) -> str:
        if self.expression.startswith("[:", self.at):
            return _CLASSES.get(self._named(":"), "") or self._unknown_class()
        low = self._bracket_char()
        rest = self.expression[self.at : self.at + 2]
        if len(rest) == 2 and rest[0] == "-" and rest[1] != "]":
            self.at += 1
            high = self._bracket_char()
            if ord(high) < ord(low):
                raise PatternError("a range whose end is before its start")
            return f"{_inside(low)}-{_inside(high)}"
        return _inside(low)

    def _unknown_class(self) -> str:
        raise PatternError("a character class that POSIX does not name")

    def _bracket_char(self) -> str:
        if self.expression.startswith("[=", self.at):
            char = self._named("=")
            if len(char) != 1:
                raise PatternError("an equivalence class of more than one character")
            return char
        if self.expression.startswith("[.", self.at):
            raise PatternError("a collating element, which Nix refuses too")
        char = self.expression[self.at]
        self.at += 1
        return char

    def _named(self, kind: str) -> str:
        end = self.expression.find(f"{kind}]", self.at + 2)
        if end < 0:
            raise PatternError("a bracket expression is not closed")
        name = self.expression[self.at + 2 : end]
        self.at = end + 2
        return name


def _inside(char: str) -> str:
    """One character inside brackets."""
    return "\\" + char if char in r"\]^-[" else _CONTROL.get(char, char)
