"""``evaluate_each``: the attributes of a set one by one, so that one that fails does not lose the others.

Nix prints a value at its end, and nothing where it fails. So each attribute is printed by ``builtins.trace``
as soon as it is known (each.nix), and is taken out of standard error as it comes; a nix that dies is followed
by one that goes on behind the attribute that it died of.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from pynix_eval_shim import source
from pynix_eval_shim.errors import LimitError, NixError, OutputTooLargeError
from pynix_eval_shim.evaluation import prepare_evaluation
from pynix_eval_shim.process import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from pynix_eval_shim.evaluation import EvaluationArguments
    from pynix_eval_shim.messages import NixMessage


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """An attribute of a set: its ``value``, or the ``error`` that its evaluation ended with."""

    name: str
    value: Any = None
    error: NixError | None = None


def evaluate_each(
    expression: str | None = None,
    *,
    on_attribute: Callable[[Attribute], None],
    **arguments: Unpack[EvaluationArguments],
) -> None:
    """Call ``on_attribute`` with each attribute of the set that ``evaluate`` would yield, in their order.

    An attribute that cannot be evaluated comes with its error, and costs a nix of its own. ``limits`` are
    those of one nix: where it meets one at an attribute that is not its first, a new one tries that
    attribute again. So an attribute fails of its own needs only, and no nix grows beyond the limit, however
    large the set is. What several of them print is told once.

    Raises what ``evaluate`` does where the set itself cannot be evaluated.
    """
    tell = arguments.get("tell")
    if tell is not None:
        arguments["tell"] = _tell_once(tell)
    evaluation = prepare_evaluation(expression, **arguments)
    walk = resources.files(__package__).joinpath("each.nix").read_text(encoding="utf-8").strip()
    mark = f"each-{secrets.token_hex(16)}:"
    lines = _AttributeLines(
        mark=mark,
        tag=evaluation.tag,
        most=evaluation.limits.output_bytes,
        on_attribute=on_attribute,
    )
    start = 0
    while lines.names is None or start < len(lines.names):
        options = f'{{ encode = {evaluation.encoder}; mark = "{mark}"; start = {start}; }}'
        try:
            evaluation.run(f"(({walk}) {options})", Watch(keep_stderr=lines.take))
        except NixError as error:
            if lines.names is None or lines.done == len(lines.names):
                raise
            if not isinstance(error, LimitError) or lines.done == start:
                on_attribute(Attribute(name=lines.names[lines.done], error=error))
                lines.done += 1
            lines.rest.clear()
        start = lines.done


def _tell_once(tell: Callable[[NixMessage], None]) -> Callable[[NixMessage], None]:
    """``tell``, but of each message the first time alone."""
    told: set[NixMessage] = set()

    def tell_new(message: NixMessage) -> None:
        if message not in told:
            told.add(message)
            tell(message)

    return tell_new


_PREFIX = b"@nix "


@dataclass
class _AttributeLines:
    """The lines of each.nix within standard error, which comes in pieces of any length.

    ``names`` are those of all attributes, None before they are known; ``done`` counts the attributes whose
    value or error is told. ``rest`` is the line that has begun, ``most`` bytes at most.
    """

    mark: str
    tag: str
    most: int
    on_attribute: Callable[[Attribute], None]
    names: list[str] | None = None
    done: int = 0
    rest: bytearray = field(default_factory=bytearray)

    def take(self, chunk: bytes) -> bytes:
        """What of ``chunk``, and of the line that had begun before it, is no attribute's.

        Raises OutputTooLargeError, and what ``on_attribute`` raises.
        """
        kept = bytearray()
        complete, newline, begun = chunk.rpartition(b"\n")
        if newline:
            lines = bytes(self.rest + complete).split(b"\n")
            self.rest.clear()
            for line in lines:
                if not self._take_line(line):
                    kept += line + b"\n"
        self.rest += begun
        if not self.rest.startswith(_PREFIX) and not _PREFIX.startswith(self.rest):
            # Text of a nix that crashes, of which there may be no more.
            kept += self.rest
            self.rest.clear()
        if len(self.rest) > self.most:
            raise OutputTooLargeError(f"the value takes more than {self.most} bytes as JSON")
        return bytes(kept)

    def _take_line(self, line: bytes) -> bool:
        """Tell the attribute that ``line`` is about; False where it is none of each.nix."""
        if not line.startswith(_PREFIX) or self.mark.encode() not in line:
            return False
        message = str(json.loads(line.removeprefix(_PREFIX)).get("msg"))
        said = message.removeprefix("trace: ")
        # Nix 2.8 names code that it was given as text by all of that text, in the places of an error.
        if not said.startswith(self.mark):
            return False
        found = source.decode_json(said.removeprefix(self.mark).encode(), tag=self.tag)
        if self.names is None:
            self.names = found
        else:
            name, value = found
            self.done += 1
            self.on_attribute(Attribute(name=name, value=value))
        return True
