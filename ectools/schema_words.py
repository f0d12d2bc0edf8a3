"""What a schema accepts and what a value is, in words that people read."""

from __future__ import annotations

import json
from typing import Any

from ectools.names import resolve_reference
from ectools.redact import redact_value

_SHOWN = 80  # characters of a value that a message repeats
_WORDS = {"object": "an object", "boolean": "true or false", "null": "null"}
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


def show_value(value: Any) -> str:
    """A value in a message, with its kind where that is not plain to see; long ones are cut."""
    text = json.dumps(redact_value(value), ensure_ascii=False)
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
        return join_words([describe(branch, root, depth + 1) for branch in schema["anyOf"]])
    if "oneOf" in schema:
        return join_words([describe(branch, root, depth + 1) for branch in schema["oneOf"]])
    if "allOf" in schema:
        return " that is also ".join(describe(part, root, depth + 1) for part in schema["allOf"])
    if "enum" in schema:
        choices = [json.dumps(choice, ensure_ascii=False) for choice in schema["enum"]]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if len(types_of(schema)) > 1:
        return join_words([describe({**schema, "type": each}, root, depth) for each in types_of(schema)])
    if schema.get("type") == "array":
        items = schema.get("items", {})
        what = "a list of at least one item" if schema.get("minItems", 0) > 0 else "a list"
        return f"{what}, each {describe(items, root, depth + 1)}" if items else what
    if schema.get("type") in ("integer", "number"):
        return _describe_number(schema)
    if schema.get("type") == "string" or "pattern" in schema:
        return _describe_string(schema)
    return _WORDS.get(next(iter(types_of(schema)), ""), "any value")


def describe_contains(what: str, schema: dict[str, Any]) -> str:
    least, most = schema.get("minContains", 1), schema.get("maxContains")
    if (least, most) == (1, None):
        return f"a list with {what} in it"
    count = f"at least {least}" if most is None else f"{least} to {most}"
    return f"a list in which {count} items are {what}"


def types_of(schema: dict[str, Any]) -> list[str]:
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
    r"[A-Za-z0-9](?:[A-Za-z0-9._\-]{0,61}[A-Za-z0-9])?": "the name of a group, channel or boot host: runners",
    r"[A-Za-z0-9][A-Za-z0-9._+\-]{0,254}": "a release's tag or id: boot-v2026.03.02",
    r"[A-Za-z0-9][A-Za-z0-9+._?=\-]{0,210}|/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=\-]{1,211}": (
        "an installed system's name or store path: ec-runner"
    ),
    r"[A-Za-z0-9][A-Za-z0-9._:+=@\-]{0,126}": "a name in /dev/disk/by-id: ata-QEMU_HARDDISK_QM00001",
    r"[A-Za-z0-9][A-Za-z0-9._:+=\-]{0,126}": "a disk's serial number: S466NX0K123456",
    r"[*]|[.]?[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_])?": (
        "a host's name, .DOMAIN for all names below it, or *: boot.example.org"
    ),
    (
        r"(?:nats|tls)://(?:[A-Za-z0-9.\-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?"
        r"(?:,(?:nats|tls)://(?:[A-Za-z0-9.\-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?)*"
    ): "NATS servers, joined by commas: nats://192.0.2.5:4222",
    r"[A-Za-z0-9_\-]{1,64}": "the name of a bucket: every-channel",
    r"/dev/[^\t-\r ]+": "a device: /dev/disk/by-partlabel/ec-store",
    r"[0-9a-fA-F]{64}": "a SHA-256, of 64 hexadecimal digits",
    r"(?:file:)?/[\s\S]+|https?://[^ ?#@]+|s3://[^ #]+|oci(?:\+http)?://[^ ?#@]+"
    r"|(?:forge|github):https?://[^ ?#@]+": (
        "a directory's absolute path, https://HOST/PATH, s3://BUCKET/PREFIX?endpoint=URL, oci://HOST/NAME or "
        "forge:https://HOST/OWNER/NAME"
    ),
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
    r"[1-9][0-9]*[kKmMgG%]?": "a size: 512M or 25%",
    r"[A-Za-z0-9_\-]+": "the name of a kernel module: e1000e",
    r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@\-]*[.](?:automount|device|mount|path|scope|service|slice|socket|swap|"
    r"target|timer)": "the name of a unit: every-channel-node.service",
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


def join_words(parts: list[str]) -> str:
    unique = list(dict.fromkeys(parts))
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} or {unique[-1]}"
