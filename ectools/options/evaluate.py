"""Evaluation of options: Nix's modules → a dump, with what is broken left out and named.

``builtins.tryEval`` does not catch an abort, a missing attribute or an infinite recursion. Where the
evaluation dies of one, it is repeated with marks on standard error: the last mark tells which field of which
option it was, that field is left out, and the evaluation goes on from there. What ``tryEval`` does catch
leaves no words behind: such a field is evaluated once more by itself, for what Nix says of it.
"""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ectools.errors import EcError, InputError
from ectools.nixpkgs import find_nixpkgs
from ectools.options.causes import BrokenOption, Cause, find_broken, find_cause
from ectools.options.dump import Dump, parse_dump

_PACKAGE = Path(__file__).resolve().parent.parent
_MOST_BROKEN = 200  # so many are not a broken option here and there
_MOST_ASKED = 20  # each takes an evaluation of the modules, and the first few show what the others lack too
_SECONDS = 900.0
_APPLY = """value: import <ectools-lib/request.nix>
  (builtins.fromJSON (builtins.readFile <ectools-request>)) value"""


class OptionsError(EcError):
    """Nix could not evaluate the options at all; the message is Nix's own, with its position."""


def find_checkout() -> Path:
    """The checkout that the current directory lies in, or the one that this package was started from.

    Raises InputError where there is none.
    """
    here = Path.cwd()
    for directory in (here, *here.parents, _PACKAGE.parent):
        if (directory / "nix" / "nixos-modules.nix").is_file() and (directory / "nix" / "lib").is_dir():
            return directory
    raise InputError(
        f"{here}: not in a checkout of every.channel, so there are no modules here",
        hint="go to a checkout, or give the options as --from EXPRESSION or --dump FILE",
    )


def find_library() -> Path:
    """The directory of ``nix/lib``: the package's own, or the checkout's that the package is started from."""
    installed = _PACKAGE / "_nix"
    return installed if installed.is_dir() else _PACKAGE.parent / "nix" / "lib"


def evaluate_modules(*, nixpkgs: str | None = None) -> Dump:
    """The options of the checkout's modules. ``nixpkgs`` is a path, None for the one that the user has.

    Raises InputError, OptionsError.
    """
    checkout = find_checkout()
    lock = checkout / "flake.lock"
    request = _Request(library=checkout / "nix" / "lib", nixpkgs=find_nixpkgs(nixpkgs))
    request.data["lock"] = str(lock) if lock.is_file() else None
    return request.answer("null")


def evaluate_expression(
    expression: str, *, name: str = "options", nixpkgs: str | None = None, required: bool = False
) -> Dump:
    """The options that a Nix expression yields: a set of options, or what ``lib.evalModules`` returns.

    ``name`` is the name of the one tree of the dump. ``required``: in submodules, what has no default and is
    not defined by the submodule itself must be set. Raises InputError, OptionsError.
    """
    request = _Request(library=find_library(), nixpkgs=find_nixpkgs(nixpkgs))
    request.data |= {
        "name": name,
        "roots": [{"prefix": "", "path": str(Path.cwd())}],
        "lock": None,
        "required": required,
    }
    return request.answer(expression)


@dataclass(frozen=True)
class _Culprit:
    """Which field of which option was being evaluated when Nix gave up, and its place in the flat list."""

    option: str
    field: str
    index: int


@dataclass
class _Request:
    """What nix/lib/request.nix is asked, and the fields that are known to be broken."""

    library: Path
    nixpkgs: Path | None
    data: dict[str, Any] = field(default_factory=dict)
    skip: dict[str, list[str]] = field(default_factory=dict)
    causes: dict[tuple[str, str], Cause] = field(default_factory=dict)

    def answer(self, expression: str) -> Dump:
        """The dump; its broken options are named in it, each with its cause. Raises OptionsError."""
        dump = self._evaluate(expression)
        broken = find_broken(dump)
        self._ask_for_causes(expression, broken)
        for each in broken:
            each.note(self.causes)
        return dump

    def _evaluate(self, expression: str) -> Dump:
        """The dump without causes. Raises OptionsError.

        First without marks, which cost time. Where that fails, with marks: each failure leaves out one field
        more and goes on at its option, until the rest evaluates; then once more without marks, for the whole.
        """
        from pynix_eval_shim import NixError

        try:
            return self._ask(expression)
        except NixError as error:
            first = error
        start = 0
        while len(self.skip) < _MOST_BROKEN:
            # Marks start with something that no option can print.
            trace = f"ectools-{secrets.token_hex(8)}:"
            try:
                found = self._ask(expression, trace=trace, start=start)
            except NixError as error:
                culprit = _find_culprit(error.stderr, trace)
                left_out = None if culprit is None else self._leave_out(culprit)
                if culprit is None or left_out is None:
                    raise _failure(error) from error
                self.causes[culprit.option, left_out] = find_cause(error, library=self.library)
                start = culprit.index
                continue
            return found if start == 0 else self._ask(expression)
        raise _failure(first) from first

    def _leave_out(self, culprit: _Culprit) -> str | None:
        """The field that is left out now, the whole option where that did not help; None if neither did."""
        known = self.skip.setdefault(culprit.option, [])
        for candidate in (culprit.field, "option"):
            if candidate not in known:
                known.append(candidate)
                return candidate
        return None

    def _ask_for_causes(self, expression: str, broken: list[BrokenOption]) -> None:
        """What Nix says of each broken field that it has said nothing of yet, the first ones at most."""
        from pynix_eval_shim import NixError

        fields = [
            (each, part) for each in broken for part in each.parts if (each.id, part) not in self.causes
        ]
        skip = {option: list(parts) for option, parts in self.skip.items()}
        for each in broken:
            skip[each.id] = sorted({*skip.get(each.id, ()), *each.parts})
        for each, part in fields[:_MOST_ASKED]:
            others = {**skip, each.id: [other for other in skip[each.id] if other != part]}
            try:
                self._ask(expression, skip=others, start=each.index, count=1, raw=True)
            except NixError as error:
                self.causes[each.id, part] = find_cause(error, library=self.library)

    def _ask(
        self,
        expression: str,
        *,
        trace: str | None = None,
        start: int = 0,
        count: int = 10**9,
        skip: dict[str, list[str]] | None = None,
        raw: bool = False,
    ) -> Dump:
        from pynix_eval_shim import Limits, evaluate

        data = {
            **self.data,
            "nixpkgs": None if self.nixpkgs is None else str(self.nixpkgs),
            "skip": self.skip if skip is None else skip,
            "trace": trace,
            "range": {"from": start, "count": count} if start or raw else None,
            "raw": raw,
        }
        with tempfile.NamedTemporaryFile("w", prefix="ectools-", suffix=".json", encoding="utf-8") as file:
            json.dump(data, file)
            file.flush()
            text = evaluate(
                expression,
                apply=_APPLY,
                impure=True,
                nix_path={"ectools-lib": str(self.library), "ectools-request": file.name},
                limits=Limits(seconds=_SECONDS),
            )
        return parse_dump(json.loads(text))


def _find_culprit(stderr: str, trace: str) -> _Culprit | None:
    """The field that was begun last and not ended: where Nix gave up. None where there is none.

    A mark is ``trace`` and a JSON list: ``["option", index]``, ``["begin", option, field]``, ``["end", …]``
    (nix/lib/options.nix).
    """
    open_fields: list[tuple[str, str]] = []
    index = 0
    for mark in re.findall(re.escape(trace) + r"(\[.*\])", stderr):
        match json.loads(mark):
            case ["option", int(number)]:
                index = number
                open_fields = []
            case ["begin", str(option), str(field)]:
                open_fields.append((option, field))
            case ["end", str(option), str(field)] if (option, field) in open_fields:
                open_fields.remove((option, field))
    return _Culprit(*open_fields[-1], index) if open_fields else None


def _failure(error: Any) -> OptionsError:
    return OptionsError(f"the options cannot be evaluated: {error}", hint=error.hint)
