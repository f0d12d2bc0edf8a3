"""Values for a schema, and the two verdicts on them: jsonschema's and the Nix module system's."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError
from support.samples import collect

from ectools.names import resolve_reference
from pynix_eval_shim import Limits, NixError, evaluate

EVAL = Path(__file__).parent.parent / "eval"
Schema = dict[str, Any]
Case = dict[str, Any]
LEAST, GREATEST = -(2**63), 2**63 - 1

HOSTILE: list[Any] = [
    *(None, True, False, 0, 1, -1, 255, 256, 65535, 65536, LEAST, GREATEST),
    *(0.0, 0.5, 1.0, -1.5, 1e22),
    *("", " ", "\n", "a", "a\n", "a\nb", "\r", "a:b", "1", "true", "${x}", "''", "\\", '"'),
    *(
        "/",
        "/a",
        "a/b",
        "./a",
        "/nix/store",
        "/nix/store/x",
        f"/nix/store/{'a' * 32}-b",
        f"nix/store/{'a' * 32}-b",
    ),
    *([], [None], [1], ["a"], [[]], {}, {"a": None}, {"a": 1}, {"a": "b"}, {"a": {}}, {"name": "x", "y": 1}),
]
_TEXT = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=6)
# A value that holds one of these means something to the module system, whatever the type is.
_NAMES = _TEXT.filter(lambda name: not name.startswith("_") and name not in ("outPath", "type"))
_ANYTHING = st.recursive(
    st.sampled_from(HOSTILE)
    | _TEXT
    | st.integers(LEAST, GREATEST)
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=4,
)


def values_for(schema: Any, root: Schema, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that are meant to fit; some will not, which is as good."""
    if not isinstance(schema, dict):
        return _ANYTHING if schema else st.nothing()
    if "$ref" in schema:
        return values_for(resolve_reference(schema["$ref"], root), root, depth)
    if "anyOf" in schema:
        branches = schema["anyOf"]
        if depth > 4:
            branches = [
                branch for branch in branches if branch.get("type") not in ("array", "object")
            ] or branches
        return st.one_of([values_for(branch, root, depth) for branch in branches])
    if "allOf" in schema:
        return values_for(schema["allOf"][0], root, depth)
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) if schema["enum"] else st.nothing()
    match schema.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            low, high = schema["minimum"], schema["maximum"]
            return st.sampled_from([low, high]) | st.integers(low, high)
        case "number":
            low, high = schema.get("minimum"), schema.get("maximum")
            numbers = st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)
            return numbers if schema.get("x-nix-float") else numbers | st.sampled_from([0, 1, 2, -1, 10**6])
        case "string":
            return _strings_for(schema)
        case "array":
            least = schema.get("minItems", 0)
            if (depth > 4 or schema.get("items") == {"enum": []}) and not least:
                return st.just([])
            most = least + 2
            return st.lists(
                values_for(schema.get("items", True), root, depth + 1), min_size=least, max_size=most
            )
        case "object":
            return _objects_for(schema, root, depth)
    return _ANYTHING


def _strings_for(schema: Schema) -> st.SearchStrategy[str]:
    if "pattern" not in schema:
        return _TEXT
    searched = st.from_regex(
        re.compile(schema["pattern"], re.ASCII),
        alphabet=st.characters(codec="ascii", exclude_characters="\0"),
    )
    return searched | searched.map(lambda text: text + "\n")


def _objects_for(schema: Schema, root: Schema, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    properties = schema.get("properties", {})
    required = {name: values_for(properties[name], root, depth + 1) for name in schema.get("required", ())}
    optional = {
        name: values_for(option, root, depth + 1)
        for name, option in properties.items()
        if name not in required
        and depth < 3
        and not option.get("readOnly")
        and not option.get("x-nix-internal")
    }
    more = schema.get("additionalProperties", True) if depth < 5 else False
    few = st.sets(st.sampled_from(sorted(optional)), max_size=3) if optional else st.just(set())
    known = few.flatmap(
        lambda chosen: st.fixed_dictionaries(
            {**required, **{name: optional[name] for name in sorted(chosen)}}
        )
    )
    if more is False:
        return known
    size = 1 if "maxProperties" in schema else 2
    if more == {"enum": []}:
        return known
    extra = st.dictionaries(
        _NAMES.filter(lambda name: name not in properties),
        values_for(more, root, depth + 1),
        min_size=schema.get("minProperties", 0),
        max_size=size,
    )
    return st.builds(lambda first, second: {**second, **first}, known, extra)


@st.composite
def _spoiled(draw: st.DrawFn, fitting: st.SearchStrategy[Any]) -> Any:
    """A fitting value with one part of it replaced, dropped or added to."""
    value = draw(fitting)
    return _spoil(draw, value, depth=draw(st.integers(0, 3)))


def _spoil(draw: st.DrawFn, value: Any, *, depth: int) -> Any:
    if depth and isinstance(value, list) and value:
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], _spoil(draw, value[index], depth=depth - 1), *value[index + 1 :]]
    if depth and isinstance(value, dict) and value:
        name = draw(st.sampled_from(sorted(value)))
        action = draw(st.sampled_from(["replace", "drop", "add"]))
        if action == "drop":
            return {key: inner for key, inner in value.items() if key != name}
        if action == "add":
            return {**value, draw(_NAMES): draw(_ANYTHING)}
        return {**value, name: _spoil(draw, value[name], depth=depth - 1)}
    if isinstance(value, int) and not isinstance(value, bool):
        return draw(st.sampled_from([max(LEAST, value - 1), min(GREATEST, value + 1)]))
    if isinstance(value, str):
        return draw(st.sampled_from([value + "\n", value + ":", value[1:], value.upper()]))
    return draw(_ANYTHING)


def collect_values(schema: Schema, root: Schema, *, count: int) -> list[Any]:
    """At most ``count`` values: some that fit, some that nearly do, some hostile ones. The same each time."""
    fitting = values_for(schema, root)
    values = collect(fitting | _spoiled(fitting) | _ANYTHING, count)
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


def _is_integer(_checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse_integers(_validator: object, _wanted: object, value: object, _schema: object) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        yield ValidationError("an integer, which Nix does not take for a float")


# JSON has one kind of number, Nix has two: what plain JSON Schema cannot say is added, as ectools' validation
# (1.0 is no integer) and its renderer (1 becomes 1.0) do.
Strict: Any = validators.extend(
    Draft202012Validator,
    validators={"x-nix-float": _refuse_integers},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def nix_verdicts(options: str, cases: list[Case], *, deep: bool, nixpkgs: Path) -> list[bool]:
    """Whether the module system takes each value for the option at its path in ``options``, a Nix expression.

    What ends an evaluation altogether is a refusal too: the number of the case stands last on standard error.
    """
    verdicts: list[bool] = []
    while len(verdicts) < len(cases):
        rest = cases[len(verdicts) :]
        mark = f"case-{secrets.token_hex(8)}-"
        try:
            verdicts += evaluate(
                f"import <tests/verdicts.nix> {{ set = {options}; deep = {'true' if deep else 'false'}; }}",
                data={"cases": rest, "mark": mark},
                impure=True,
                nix_path={"nixpkgs": str(nixpkgs), "tests": str(EVAL)},
                limits=Limits(seconds=600.0),
            )
        except NixError as error:
            reached = re.findall(mark + r"(\d+)", error.stderr)
            if not reached:
                raise
            failed = int(reached[-1])
            verdicts += nix_verdicts(options, rest[:failed], deep=deep, nixpkgs=nixpkgs)
            verdicts.append(False)
    return verdicts
