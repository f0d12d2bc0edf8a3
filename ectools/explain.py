"""jsonschema's errors in the words of options: the path, the value, what was expected, a nearby name."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ectools.errors import UNSET, Problem
from ectools.names import resolve_reference, show_path
from ectools.suggest import find_similar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN = 80  # characters of a value that a message repeats
_WORDS = {"object": "an object", "boolean": "true or false", "null": "null"}
_DEMANDS = {
    "dependentRequired": "the names that go with those that are there: {}",
    "maxItems": "a list of at most {} items",
    "maxLength": "a string of at most {} characters",
    "maxProperties": "an object of at most {} names",
    "minLength": "a string of at least {} characters",
    "minProperties": "an object of at least {} names",
    "multipleOf": "a multiple of {}",
    "uniqueItems": "a list of different items",
}
_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a floating point number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    return _KINDS[type(value)]


def explain(errors: Iterable[Any], root: dict[str, Any], prefix: str) -> list[Problem]:
    """One Problem for each thing that is wrong. ``errors`` are jsonschema's, in the document's order."""
    explainer = _Explainer(root, prefix)
    for error in errors:
        explainer.add(error, ())
    return explainer.problems


class _Explainer:
    def __init__(self, root: dict[str, Any], prefix: str) -> None:
        self.problems: list[Problem] = []
        self._root = root
        self._prefix = prefix

    def add(self, error: Any, above: Sequence[str | int]) -> None:
        """``above`` is where the enclosing error stands: paths inside an anyOf are relative to it."""
        path = (*above, *error.relative_path)
        match error.validator:
            case "additionalProperties" if isinstance(error.instance, dict):
                self._unknown_names(error, path)
            case "required":
                self._missing_name(error, path)
            case "anyOf":
                self._alternatives(error, path)
            case "readOnly":
                self._read_only(error, path)
            case _:
                self._put(path, error.instance, error.schema, self._demand(error))

    def _demand(self, error: Any) -> str | None:
        """What a keyword asks for that no schema of options has; None for those that a type's words say."""
        demand = error.validator_value
        match error.validator:
            case "oneOf":
                return f"exactly one of: {_join([describe(each, self._root, 1) for each in demand])}"
            case "not":
                return f"anything but {describe(demand, self._root, 1)}"
            case "contains":
                return f"a list with {describe(demand, self._root, 1)} in it"
            case keyword if keyword in _DEMANDS:
                return _DEMANDS[keyword].format(show_value(demand).partition(" (")[0])
        return None

    def _put(
        self, path: Sequence[str | int], value: Any, schema: dict[str, Any], demand: str | None = None
    ) -> None:
        problem = Problem(
            option=show_path(path, self._prefix) or "document",
            message=f"is {show_value(value)}",
            value=value,
            expected=demand or describe(schema, self._root),
            hint=_nearby_value(value, schema),
        )
        if problem not in self.problems:
            self.problems.append(problem)

    def _unknown_names(self, error: Any, path: Sequence[str | int]) -> None:
        known = error.schema.get("properties", {})
        patterns = error.schema.get("patternProperties", {})
        for name in error.instance:
            if name in known or any(re.search(pattern, name) for pattern in patterns):
                continue
            self.problems.append(
                Problem(
                    option=show_path((*path, name), self._prefix),
                    message="there is no such option",
                    value=error.instance[name],
                    expected=None if known else "no name at all",
                    hint=self._nearby(name, known, path),
                )
            )

    def _nearby(self, name: str, known: dict[str, Any], path: Sequence[str | int]) -> str | None:
        if similar := find_similar(name, known):
            return f"did you mean {show_path((*path, similar[0]), self._prefix)}?"
        elsewhere = [found for found in _option_paths(self._root) if found[-1] == name]
        if len(elsewhere) == 1:
            return f"did you mean {show_path(elsewhere[0], self._prefix)}?"
        if known and len(known) <= 8:
            return f"the names here are: {', '.join(known)}"
        return None

    def _missing_name(self, error: Any, path: Sequence[str | int]) -> None:
        # jsonschema yields one error for each missing name, without saying in a field which it is.
        for name in error.validator_value:
            option = show_path((*path, name), self._prefix)
            if name in error.instance or any(problem.option == option for problem in self.problems):
                continue
            expected = describe(error.schema.get("properties", {}).get(name, {}), self._root)
            self.problems.append(
                Problem(
                    option=option, message="is missing and has no default", value=UNSET, expected=expected
                )
            )

    def _read_only(self, error: Any, path: Sequence[str | int]) -> None:
        self.problems.append(
            Problem(
                option=show_path(path, self._prefix) or "document",
                message="is read-only",
                value=error.instance,
                hint="leave it out: its module alone sets it",
            )
        )

    def _alternatives(self, error: Any, path: Sequence[str | int]) -> None:
        """Follow the branch that came closest; where none got past the value itself, name them all."""
        branches = _branches(error)
        tags = _tags(error.schema)
        if tags and isinstance(error.instance, dict):
            known = [tag for tag in tags if tag in error.instance]
            if len(error.instance) == 1 and known:
                for inner in branches[tags.index(known[0])]:
                    self.add(inner, path)
            else:
                self._wrong_tags(error.instance, tags, path)
            return
        inside = {index: found for index, found in branches.items() if not _fails_at_root(found)}
        if not inside:
            self._put(path, error.instance, error.schema)
            return
        for inner in min(inside.values(), key=_distance):
            self.add(inner, path)

    def _wrong_tags(self, value: dict[str, Any], tags: list[str], path: Sequence[str | int]) -> None:
        """A set that has not exactly one of these names."""
        rule = f"exactly one of {', '.join(tags)}"
        unknown = [name for name in value if name not in tags]
        for name in unknown:
            close = find_similar(name, tags)
            meant = f"did you mean {show_path((*path, close[0]), self._prefix)}? " if close else ""
            self.problems.append(
                Problem(
                    option=show_path((*path, name), self._prefix),
                    message="there is no such option",
                    value=value[name],
                    hint=f"{meant}here stands {rule}",
                )
            )
        if not unknown:
            self.problems.append(
                Problem(
                    option=show_path(path, self._prefix) or "document",
                    message=f"has {', '.join(value) or 'no name'}",
                    value=value,
                    expected=rule,
                    hint="remove all but one" if value else None,
                )
            )


def _tags(schema: dict[str, Any]) -> list[str]:
    """The names of which exactly one may be set, where a schema's alternatives say just that; else none."""
    tags: list[str] = []
    for branch in schema["anyOf"]:
        names = list(branch.get("properties", ())) if isinstance(branch, dict) else []
        if (
            len(names) != 1
            or branch.get("required") != names
            or branch.get("additionalProperties") is not False
        ):
            return []
        tags += names
    return tags


def _nearby_value(value: Any, schema: Any) -> str | None:
    """What was probably meant: a choice of nearly the same letters, or the same with or without quotes."""
    branches = schema.get("anyOf", [schema]) if isinstance(schema, dict) else []
    branches = [branch for branch in branches if isinstance(branch, dict)]
    if isinstance(value, str):
        choices = [each for branch in branches for each in branch.get("enum", ()) if isinstance(each, str)]
        if similar := find_similar(value, choices):
            return f"did you mean {json.dumps(similar[0], ensure_ascii=False)}?"
    types = {each for branch in branches for each in _types(branch) or ["any"]}
    if isinstance(value, str) and not types & {"string", "any"}:
        pattern = r"true|false" if "boolean" in types else r"-?(0|[1-9][0-9]{0,18})"
        quoted = types & {"boolean", "integer", "number"} and re.fullmatch(pattern, value)
        return f"write {value} without quotes" if quoted else None
    if isinstance(value, (int, float)) and "string" in types:
        return f"put it in quotes: {json.dumps(json.dumps(value))}"
    return None


def _branches(error: Any) -> dict[int, list[Any]]:
    """The errors of each alternative of an anyOf, by its number."""
    branches: dict[int, list[Any]] = {}
    for inner in error.context:
        # The error of a schema that is false has no path.
        branches.setdefault(next(iter(inner.relative_schema_path), -1), []).append(inner)
    return branches


def _fails_at_root(errors: list[Any]) -> bool:
    """Whether a branch refuses the value itself, rather than something in it."""
    for error in errors:
        if error.relative_path or error.validator in ("additionalProperties", "required", "minItems"):
            continue
        if error.validator != "anyOf" or all(map(_fails_at_root, _branches(error).values())):
            return True
    return False


def _distance(errors: list[Any]) -> tuple[int, int]:
    return len(errors), -max(len(error.relative_path) for error in errors)


def _option_paths(node: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, inner in node.get("properties", {}).items():
        found.append((*path, name))
        if isinstance(inner, dict) and "x-nix-type" not in inner:
            found.extend(_option_paths(inner, (*path, name)))
    return found


def show_value(value: Any) -> str:
    """A value in a message, with its kind where that is not plain to see; long ones are cut."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > _SHOWN:
        text = text[: _SHOWN - 1] + "…"
    return text if value is None else f"{text} ({kind_of(value)})"


def describe(schema: Any, root: dict[str, Any], depth: int = 0) -> str:  # noqa: PLR0911 - one for each keyword
    """What a schema accepts, in words."""
    if not isinstance(schema, dict):
        return "any value" if schema else "nothing"
    if "$ref" in schema:
        # A type that holds itself has no end of words.
        return "a value" if depth > 3 else describe(resolve_reference(schema["$ref"], root), root, depth + 1)
    if "anyOf" in schema:
        return _join([describe(branch, root, depth + 1) for branch in schema["anyOf"]])
    if "allOf" in schema:
        return " that is also ".join(describe(part, root, depth + 1) for part in schema["allOf"])
    if "enum" in schema:
        choices = [json.dumps(choice, ensure_ascii=False) for choice in schema["enum"]]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if len(_types(schema)) > 1:
        return _join([describe({**schema, "type": each}, root, depth) for each in _types(schema)])
    if schema.get("type") == "array":
        items = schema.get("items", {})
        what = "a list of at least one item" if schema.get("minItems", 0) > 0 else "a list"
        return f"{what}, each {describe(items, root, depth + 1)}" if items else what
    if schema.get("type") in ("integer", "number"):
        return _describe_number(schema)
    if schema.get("type") == "string" or "pattern" in schema:
        return _describe_string(schema)
    return _WORDS.get(next(iter(_types(schema)), ""), "any value")


def _types(schema: dict[str, Any]) -> list[str]:
    """The types that a schema names: one, or several in a list."""
    types = schema.get("type", [])
    return types if isinstance(types, list) else [types]


def _describe_number(schema: dict[str, Any]) -> str:
    what = "an integer" if schema["type"] == "integer" else "a number"
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema["type"] == "integer":
        low = None if low == -(2**63) else low
        high = None if high == 2**63 - 1 else high
    if "exclusiveMinimum" in schema:
        return f"{what} greater than {schema['exclusiveMinimum']}"
    if low is not None and high is not None:
        return f"{what} from {low} to {high}"
    if low is not None:
        return f"{what} of at least {low}"
    if high is not None:
        return f"{what} of at most {high}"
    return f"{what} of 64 bits" if schema["type"] == "integer" and "minimum" in schema else what


# The patterns that stand for types of their own, as ectools.options.types writes them, and ectools.host one.
_PATTERNS = {
    r"^(?:pkgs\.)?[a-zA-Z_][a-zA-Z0-9_'-]*(?:\.[a-zA-Z_][a-zA-Z0-9_'-]*)*$(?!\n)": "a package (pkgs.NAME)",
    "^/": "an absolute path",
    "^(?!/)": "a string that does not begin with a slash",
    "^/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9A-Za-z+._?=-]+$(?!\\n)": "a store path (/nix/store/…)",
    "[^ \\t\\n]": "a string that is not empty or blank",
    "^[^\\n\\r]*\\n?$(?!\\n)": "a string of one line",
}
# What the patterns of this project's modules (strMatching) mean, without their anchors. A test looks that
# each has its words: people are shown none of them.
_MEANINGS = {
    r"[0-9]{1,3}(?:[.][0-9]{1,3}){3}": "an IPv4 address: 192.0.2.10",
    r"[0-9]{1,3}(?:[.][0-9]{1,3}){3}/[0-9]{1,2}": "an IPv4 network: 192.0.2.0/24",
    r"[0-9a-fA-F.:]+(?:/[0-9]{1,3})?": "an address or a network: 192.0.2.0/24 or 2001:db8::/32",
    r"(?:[0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}": "an address and a port: 192.0.2.10:9100 or [::1]:9100",
    r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}": "a hardware address: 52:54:00:12:34:56",
    r"[0-9a-fA-F]{2}(?:[:\-][0-9a-fA-F]{2}){5}": "a hardware address: 02:00:00:12:34:56",
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}": "a UUID: 6f1c2d3e-0000-4000-8000-020000123456",
    r"[!-~]+": "printable ASCII without blanks",
    r"[ -~]*[!-~][ -~]*": "printable ASCII",
    r"[A-Za-z0-9](?:[A-Za-z0-9._\-]{0,61}[A-Za-z0-9])?": "the name of a group: runners",
    r"[A-Za-z0-9][A-Za-z0-9._+\-]{0,254}": "a release's tag or id: boot-v2026.03.02",
    r"[0-9a-fA-F]{64}": "a SHA-256, of 64 hexadecimal digits",
    r"https?://[^ /?#@]+(?:/[^ ?#]*)?": "an http or https URL without a user or a query: https://git.example.org",
    r"[A-Za-z0-9._\-]+/[A-Za-z0-9._\-]+": "a repository: OWNER/NAME",
    r"[A-Za-z0-9][A-Za-z0-9._\-]*": "a file's name: netboot.ipxe",
    r"[A-Za-z0-9][A-Za-z0-9._\-]{0,254}": "the name of a system: ec-runner-x86_64-netboot",
    r"(?:[A-Za-z0-9_][A-Za-z0-9._+\-]*/)*[A-Za-z0-9][A-Za-z0-9_\-]*[.][A-Za-z0-9._\-]+": (
        "a file's name with a dot, below directories where wanted: ec-ipxe.efi"
    ),
    r"/[\s\S]*": "an absolute path",
    r"(?:/[^/]+)+": "an absolute path, without a slash at its end",
    r"[^/]+": "a name without a slash",
    r"[0-9]+[kKmMgG%]?": "a size: 512M or 25%",
}


def _describe_string(schema: dict[str, Any]) -> str:
    pattern = schema.get("pattern")
    if pattern is None:
        return "a string"
    readable = _readable(pattern)
    return _PATTERNS.get(pattern) or _MEANINGS.get(readable) or f"a string that matches {readable}"


def _readable(pattern: str) -> str:
    """A pattern without the anchoring that every translated one has."""
    return pattern.removeprefix("^(?:").removesuffix(")$(?!\\n)")


def _join(parts: list[str]) -> str:
    unique = list(dict.fromkeys(parts))
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} or {unique[-1]}"
