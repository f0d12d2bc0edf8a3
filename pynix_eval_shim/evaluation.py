"""``evaluate`` and ``parse``: one nix process a call, the caller's code and data kept apart."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from pynix_eval_shim import invocation, source
from pynix_eval_shim.errors import DataError
from pynix_eval_shim.invocation import Nix
from pynix_eval_shim.limits import Limits
from pynix_eval_shim.process import ASK_SECONDS, no_room
from pynix_eval_shim.source import PositionMap

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from typing import Unpack

    from pynix_eval_shim.messages import NixMessage
    from pynix_eval_shim.process import Watch

NO_DATA: Any = object()
"""The default of ``data``: there is none. ``None`` is data: JSON's null."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The subject of a call: exactly one of an expression's text, a file, or an installable (``.#name``)."""

    expression: str | None = None
    file: Path | None = None
    installable: str | None = None

    def __post_init__(self) -> None:
        given = [each for each in (self.expression, self.file, self.installable) if each is not None]
        if len(given) != 1:
            raise TypeError("give exactly one of an expression, file= and installable=")
        if self.installable is not None:
            not_an_option(self.installable)


def not_an_option(reference: str) -> str:
    """The reference to a flake or to something in it, which nix must not take for an option."""
    if reference.startswith("-"):
        raise DataError(f"{reference}: a reference does not begin with a dash", hint=f"write ./{reference}")
    return reference


class EvaluationArguments(TypedDict, total=False):
    """What ``evaluate`` and ``evaluate_each`` take beside an expression: the first says what each is."""

    file: str | os.PathLike[str] | None
    installable: str | None
    apply: str | None
    data: Any
    impure: bool
    import_from_derivation: bool
    nix_path: Mapping[str, str] | None
    override_inputs: Mapping[str, str] | None
    cwd: str | os.PathLike[str] | None
    limits: Limits | None
    nix: Nix | None
    tell: Callable[[NixMessage], None] | None


def evaluate(expression: str | None = None, **arguments: Unpack[EvaluationArguments]) -> Any:
    """The value of an expression, a file or an installable, forced all the way down, as Python sees JSON.

    With ``data`` (any JSON value), the target is a function and is called with it; with ``apply`` (the text
    of a function), the result is what that makes of it: ``apply (target data)``. Data reaches nix as JSON and
    arrives unchanged, of any size; code is taken as it is and must come from the program, not from its users.
    An installable's data is public: it stands in argv, or in the store where it is long. Other data stays out
    of both.

    Results are exact: integers, and floats to the last bit, ``-0.0`` and infinities too. Paths are strings
    and are not copied to the store; a derivation is its output path.

    Evaluation is pure unless ``impure``; a ``file`` can only be read impurely. ``nix_path`` maps names to
    what ``<name>`` means and needs ``impure`` or a file. ``override_inputs`` maps a flake's inputs to
    references. Nothing is built unless ``import_from_derivation``. Relative paths in the code start at
    ``cwd``.

    ``tell`` is called with what the evaluation printed, warnings and traces in their order, once it has ended
    and before an error is raised. Without it they go to the log.

    Raises TypeError for arguments that contradict each other, DataError, and any other NixError.
    """
    evaluation = prepare_evaluation(expression, **arguments)
    return source.decode_json(evaluation.run(evaluation.encoder), tag=evaluation.tag)


def parse(expression: str, *, limits: Limits | None = None, nix: Nix | None = None) -> None:
    """Check that ``expression`` is a Nix expression whose variables are all bound; nothing is evaluated.

    Raises NixSyntaxError, UndefinedVariableError, and any other NixError.
    """
    nix = nix or Nix()
    argv = [
        nix.find("nix-instantiate"),
        "--parse",
        *("--store", "dummy://"),
        *invocation.settings(nix),
        "-",
    ]
    text = source.check_code(expression)
    whole = PositionMap(composed=text, label=source.STDIN_LABEL, regions=((1, text.count("\n") + 1),))
    invocation.call(nix, argv, limits=limits or Limits(), stdin=text, sources=whole)


def find_file(file: str | os.PathLike[str] | None, cwd: str | os.PathLike[str] | None) -> Path | None:
    """The absolute path of a file that is given relative to ``cwd``, the current directory without one."""
    return None if file is None else (Path(cwd) if cwd is not None else Path.cwd()).absolute() / file


@dataclass(frozen=True, kw_only=True)
class PreparedEvaluation:
    """An evaluation with all that its nix is started with but for the function that is put around its value.

    ``tag`` marks floats in the result. ``flags`` are arguments that go with an installable only.
    """

    nix: Nix
    target: Target
    apply: str | None
    data: Any
    pure: bool
    build: bool
    arguments: tuple[str, ...]
    flags: tuple[str, ...]
    limits: Limits
    cwd: Path | None
    tag: str
    tell: Callable[[NixMessage], None] | None

    @property
    def encoder(self) -> str:
        """The Nix function that makes a value ready for nix's JSON writer."""
        return f'(({source.encoder()}) "{self.tag}")'

    def run(self, wrap: str, watch: Watch | None = None) -> bytes:
        """Nix's JSON of what the Nix function ``wrap`` makes of the value. Raises its typed error."""
        if self.target.installable is not None:
            return self._run_installable(self.target.installable, wrap, watch)
        return self._run_expression(wrap, watch)

    def _run_expression(self, wrap: str, watch: Watch | None) -> bytes:
        text, code, sources = compose(self.target, self.apply, self.data, wrap=wrap)
        # nix-instantiate, because `nix eval` is pure only for text in argv, which is too short for data.
        argv = [self.nix.find("nix-instantiate"), "--eval", "--strict", "--json"]
        store = invocation.choose_store(self.nix, needed=self.build)
        if store.writable:
            argv.append("--read-write-mode")
        argv += [*store.arguments, *self.arguments]
        argv += ["--option", "pure-eval", "true" if self.pure else "false", *code, "-"]
        return self._call(argv, sources, watch, text)

    def _run_installable(self, installable: str, wrap: str, watch: Watch | None) -> bytes:
        store = invocation.choose_store(self.nix, needed=True)
        with contextlib.ExitStack() as stack:
            argument = None if self.data is NO_DATA else _argument(self.data, stack)
            text = f"value: {wrap} ("
            regions: tuple[tuple[int, int], ...] = ()
            if self.apply is not None:
                text, region = source.enclose(text, source.check_code(self.apply))
                regions = (region,)
            text += " value)" if argument is None else f" (value {argument}))"
            sources = PositionMap(label=source.STRING_LABEL, composed=text, regions=regions)
            argv = [self.nix.find("nix"), "eval", "--json", "--no-write-lock-file"]
            argv += [*store.arguments, *self.arguments, *self.flags, "--apply", text, installable]
            return self._call(argv, sources, watch)

    def _call(self, argv: list[str], sources: PositionMap, watch: Watch | None, stdin: str = "") -> bytes:
        finished, _ = invocation.call(
            self.nix,
            argv,
            limits=self.limits,
            stdin=stdin,
            sources=sources,
            cwd=self.cwd,
            ask_seconds=ASK_SECONDS if self.build else 0.0,
            watch=watch,
            tell=self.tell,
        )
        return finished.stdout


def prepare_evaluation(
    expression: str | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    installable: str | None = None,
    apply: str | None = None,
    data: Any = NO_DATA,
    impure: bool = False,
    import_from_derivation: bool = False,
    nix_path: Mapping[str, str] | None = None,
    override_inputs: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    nix: Nix | None = None,
    tell: Callable[[NixMessage], None] | None = None,
) -> PreparedEvaluation:
    """An evaluation; the arguments are those of ``evaluate``.

    Raises TypeError for arguments that contradict each other.
    """
    target = Target(expression=expression, file=find_file(file, cwd), installable=installable)
    nix = nix or Nix()
    if nix_path and not (impure or target.file):
        raise TypeError("nix_path= needs impure=True: pure evaluation knows no <names>")
    if override_inputs and target.installable is None:
        raise TypeError("override_inputs= needs installable=")
    settings = invocation.settings(
        nix,
        allow_import_from_derivation="true" if import_from_derivation else "false",
        # A cached failure comes without its message.
        eval_cache="false",
    )
    return PreparedEvaluation(
        nix=nix,
        target=target,
        apply=apply,
        data=data,
        pure=not (impure or target.file),
        build=import_from_derivation,
        arguments=(*search_path(nix_path), *settings),
        flags=(*(["--impure"] if impure else []), *override(override_inputs)),
        limits=limits or Limits(),
        cwd=Path(cwd) if cwd is not None else None,
        tag=f"float-{secrets.token_hex(16)}",
        tell=tell,
    )


def _argument(data: Any, stack: contextlib.ExitStack) -> str:
    """A Nix expression for ``data`` that is short enough for argv: long data goes through a file."""
    direct = source.from_json(data)
    if source.fits_argument(direct):
        return direct
    # Pure evaluation reads no file but one whose content it knows beforehand.
    content = source.to_json(data).encode()
    try:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pynix-eval-shim-"))
        path = Path(directory, "data.json")
        path.write_bytes(content)
    except OSError as error:
        raise no_room(error) from error
    fetch = source.from_json(
        {
            "url": f"file://{quote(str(path))}",
            "name": "data.json",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    )
    return f"(builtins.fromJSON (builtins.readFile (builtins.fetchurl {fetch})))"


def compose(
    target: Target, apply: str | None, data: Any, *, wrap: str = ""
) -> tuple[str, list[str], PositionMap]:
    """The text for standard input, the arguments that carry the caller's code, and what positions mean.

    The text yields ``wrap (apply (target data))``. Code goes in by ``--arg``, where nix parses it by itself,
    so that nothing in it can end our brackets; code too long for an argument is put in brackets instead.
    """
    codes = {"expression": target.expression, "apply": apply}
    given = {name: source.check_code(code) for name, code in codes.items() if code is not None}
    arguments: list[str] = []
    regions: list[tuple[int, int]] = []
    text = ""
    if source.fits_argument(*given.values()):
        for name, code in given.items():
            arguments += ("--arg", name, code)
        names = [*given]
    else:
        names = []
        for name, code in given.items():
            text, region = source.enclose(f"{text}let {name} = ", code)
            regions.append(region)
            text += "; in\n"
    if target.file is not None:
        arguments += ("--argstr", "file", str(target.file))
        names.append("file")
    body = "expression" if target.file is None else "(import file)"
    if data is not NO_DATA:
        body = f"({body} {source.from_json(data)})"
    if apply is not None:
        body = f"(apply {body})"
    head = f"{{ {', '.join(names)} }}: " if names else ""
    composed = f"{head}{text}{wrap} {body}\n"
    return (
        composed,
        arguments,
        PositionMap(composed=composed, regions=tuple(regions), strings=frozenset(given.values())),
    )


def search_path(nix_path: Mapping[str, str] | None) -> list[str]:
    """The arguments that define ``<name>``, two for each."""
    return [part for name, path in (nix_path or {}).items() for part in ("-I", f"{name}={path}")]


def override(inputs: Mapping[str, str] | None) -> list[str]:
    """The arguments that replace a flake's inputs."""
    return [part for name, ref in (inputs or {}).items() for part in ("--override-input", name, ref)]
