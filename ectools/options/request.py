"""The request that ``nix/lib/request.nix`` answers: options → a dump, with what is broken left out and named.

``builtins.tryEval`` does not catch an abort, a missing attribute or an infinite recursion. Where the
evaluation dies of one, Nix's trace tells which field of which option it was; where it does not, the
evaluation is repeated with marks on standard error, the last of which tells it. That field is left out, and
the options are evaluated again. What ``tryEval`` does catch leaves no words behind: such a field is evaluated
once more by itself, for what Nix says of it. An evaluation that takes too long ends the request: no field is
to blame for it.
"""

from __future__ import annotations

import json
import re
import secrets
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ectools.errors import UNSET, EcError
from ectools.log import Log
from ectools.options.causes import OWN_NOTE, BrokenOption, Cause, find_broken, find_cause, find_notes
from ectools.options.dump import Dump, parse_dump

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pynix_eval_shim import NixError

_MOST_BROKEN = 200  # so many are not a broken option here and there
_MOST_ASKED = 20  # each takes an evaluation of the modules, and the first few show what the others lack too
_SECONDS = 900.0  # for one evaluation
_SECONDS_IN_ALL = 3600.0
_LOG = Log("ectools.options")
_APPLY = """value: import <ectools-lib/request.nix>
  (builtins.fromJSON (builtins.readFile <ectools-request>)) value"""


class OptionsError(EcError):
    """Nix could not evaluate the options at all; the message is Nix's own, with its position."""


@dataclass(frozen=True, kw_only=True)
class OptionsSource:
    """What nix/lib is given: the value of an ``expression`` or of a flake's output, ``installable``.

    The expression is called with ``data`` if there is some; ``inputs`` of the flake are replaced. Relative
    paths start at ``directory``.
    """

    expression: str | None = None
    data: Any = UNSET
    installable: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


@dataclass(frozen=True)
class _Culprit:
    """Which field of which option was being evaluated when Nix gave up, and its place in the flat list."""

    option: str
    field: str
    index: int


@dataclass
class OptionsRequest:
    """What nix/lib/request.nix is asked, and the fields that are known to be broken."""

    library: Path
    nixpkgs: Path | None
    target: OptionsSource
    data: dict[str, Any] = field(default_factory=dict)
    skip: dict[str, list[str]] = field(default_factory=dict)
    causes: dict[tuple[str, str], Cause] = field(default_factory=dict)
    deadline: float = 0.0

    def answer(self) -> Dump:
        """The dump; its broken options are named in it, each with its cause. Raises OptionsError."""
        self.deadline = time.monotonic() + _SECONDS_IN_ALL
        dump = self._evaluate()
        broken = find_broken(dump)
        self._ask_for_causes(broken)
        for each in broken:
            each.note(self.causes)
        return dump

    def _evaluate(self) -> Dump:
        """The dump without causes. Raises OptionsError.

        First without marks, which cost time: where that fails, Nix's trace tells which field to leave out.
        Where it does not (a stack overflow has none), with marks: each failure leaves out one field more and
        goes on at its option, until the rest evaluates; then once more without marks, for the whole.
        """
        from pynix_eval_shim import NixError, NixTimeoutError

        first = None
        while len(self.skip) < _MOST_BROKEN:
            token = f"{OWN_NOTE}{secrets.token_hex(8)}:"
            try:
                return self._ask(context=token)
            except NixTimeoutError as error:
                raise self._too_long(error) from error
            except NixError as error:
                first = first or error
                culprit = _find_context(error, token)
                left_out = None if culprit is None else self._leave_out(culprit)
                if culprit is None or left_out is None:
                    break
                self.causes[culprit.option, left_out] = find_cause(error, library=self.library)
        assert first is not None  # noqa: S101 - nothing is left out before something failed
        start = 0
        while len(self.skip) < _MOST_BROKEN:
            # Marks start with something that no option can print.
            trace = f"{OWN_NOTE}{secrets.token_hex(8)}:"
            try:
                found = self._ask(trace=trace, start=start)
            except NixTimeoutError as error:
                raise self._too_long(error) from error
            except NixError as error:
                culprit = _find_culprit(error.stderr, trace)
                left_out = None if culprit is None else self._leave_out(culprit)
                if culprit is None or left_out is None:
                    raise options_failure(error) from error
                self.causes[culprit.option, left_out] = find_cause(error, library=self.library)
                start = culprit.index
                continue
            return found if start == 0 else self._ask()
        raise options_failure(first) from first

    def _too_long(self, error: NixError) -> OptionsError:
        """The error of a tree for which there is not time enough, whatever was evaluated when it ended."""
        left_out = f", without what ended it before in {', '.join(self.skip)}" if self.skip else ""
        return OptionsError(
            f"the options cannot be evaluated: {error}{left_out}",
            hint="give a part of the tree: --from '(EXPRESSION).options.programs'",
        )

    def _leave_out(self, culprit: _Culprit) -> str | None:
        """The field that is left out now, the whole option where that did not help; None if neither did."""
        known = self.skip.setdefault(culprit.option, [])
        for candidate in (culprit.field, "option"):
            if candidate not in known:
                known.append(candidate)
                _LOG.debug("option_left_out", option=culprit.option, part=candidate, in_all=len(self.skip))
                return candidate
        return None

    def _ask_for_causes(self, broken: list[BrokenOption]) -> None:
        """What Nix says of each broken field that it has said nothing of yet, the first ones at most."""
        from pynix_eval_shim import NixError

        fields = [
            (each, part) for each in broken for part in each.parts if (each.id, part) not in self.causes
        ]
        skip = {option: list(parts) for option, parts in self.skip.items()}
        for each in broken:
            skip[each.id] = sorted({*skip.get(each.id, ()), *each.parts})
        for each, part in fields[:_MOST_ASKED]:
            if time.monotonic() > self.deadline:
                break  # its part is named all the same
            others = {**skip, each.id: [other for other in skip[each.id] if other != part]}
            try:
                self._ask(skip=others, start=each.index, count=1, raw=True)
            except NixError as error:
                self.causes[each.id, part] = find_cause(error, library=self.library)

    def _ask(
        self,
        *,
        trace: str | None = None,
        context: str | None = None,
        start: int = 0,
        count: int = 10**9,
        skip: dict[str, list[str]] | None = None,
        raw: bool = False,
    ) -> Dump:
        from pynix_eval_shim import NO_DATA, Limits, evaluate

        data = {
            **self.data,
            "nixpkgs": None if self.nixpkgs is None else str(self.nixpkgs),
            "skip": self.skip if skip is None else skip,
            "context": context,
            "trace": trace,
            "range": {"from": start, "count": count} if start or raw else None,
            "raw": raw,
        }
        with tempfile.NamedTemporaryFile("w", prefix="ectools-", suffix=".json", encoding="utf-8") as file:
            json.dump(data, file)
            file.flush()
            text = evaluate(
                self.target.expression,
                installable=self.target.installable,
                data=NO_DATA if self.target.data is UNSET else self.target.data,
                apply=_APPLY,
                impure=True,
                override_inputs=self.target.inputs or None,
                cwd=self.target.directory,
                nix_path={
                    **({} if self.nixpkgs is None else {"nixpkgs": str(self.nixpkgs)}),
                    "ectools-lib": str(self.library),
                    "ectools-request": file.name,
                },
                limits=Limits(seconds=max(1.0, min(_SECONDS, self.deadline - time.monotonic()))),
            )
        return parse_dump(json.loads(text))


def _find_context(error: NixError, token: str) -> _Culprit | None:
    """The innermost field that Nix's trace names; None where it names none.

    The line is ``token`` and a JSON list: ``[option, field]`` (nix/lib/options.nix).
    """
    for frame in error.trace:
        if token in frame.message:
            option, field = json.loads(frame.message.partition(token)[2])
            return _Culprit(option, field, 0)
    return None


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


def options_failure(error: NixError) -> OptionsError:
    """The error of a tree that Nix could not evaluate at all."""
    lines = (f"the options cannot be evaluated: {error}", *(f"    {note}" for note in find_notes(error)))
    return OptionsError("\n".join(lines), hint=error.hint)
