"""Broken host descriptions: what is wrong with each, and where. For ``support.host_contract.CONTRACT``.

Each is the format, the text, and the problems in order: line, column, option, words of the message.
"""

from __future__ import annotations

from typing import TypeAlias

Expected: TypeAlias = tuple[int, int, str, str]
Case: TypeAlias = tuple[str, str, list[Expected]]

FILE = "(the whole file)"
T = "services.test"

JSON: dict[str, Case] = {
    "empty": ("json", "", [(1, 1, FILE, "the file ends where a value was expected")]),
    "only blanks": ("json", " \n ", [(2, 2, FILE, "the file ends where a value")]),
    "no object": ("json", "[1]", [(1, 1, FILE, "a host description is a table of options")]),
    "null": ("json", "null", [(1, 1, FILE, "a host description is a table")]),
    "duplicate key": (
        "json",
        '{"a": 1,\n "a": 2}',
        [(2, 2, "a", "'a' stands twice in this object, first in line 1")],
    ),
    "deep duplicate": ("json", '{"a": [{"b": {"c": 1, "c": 1}}]}', [(1, 23, "a[0].b.c", "stands twice")]),
    "escaped duplicate": ("json", '{"a": 1, "\\u0061": 2}', [(1, 10, "a", "stands twice")]),
    "nan": ("json", '{"a": NaN}', [(1, 7, "a", "NaN is not JSON")]),
    "infinity": ("json", '{"a": [1, Infinity]}', [(1, 11, "a[1]", "Infinity is not JSON")]),
    "minus infinity": ("json", '{"a":\n -Infinity}', [(2, 2, "a", "-Infinity is not JSON")]),
    "python's words": ("json", '{"a": True}', [(1, 7, "a", "True is Python's word; JSON has true")]),
    "bare word": ("json", '{"a": yes}', [(1, 7, "a", "'yes' is not a JSON value")]),
    "bare key": ("json", "{a: 1}", [(1, 2, FILE, "a key in double quotes was expected")]),
    "single quotes": ("json", "{'a': 1}", [(1, 2, FILE, "a key in double quotes")]),
    "line comment": ("json", '{\n  // why\n  "a": 1}', [(2, 3, FILE, "JSON has no comments")]),
    "block comment": ("json", '{"a": /* 1 */ 2}', [(1, 7, FILE, "JSON has no comments")]),
    "comma in object": ("json", '{"a": 1,\n}', [(2, 1, FILE, "a comma stands before the closing }")]),
    "comma in list": ("json", '{"a": [1,]}', [(1, 10, "a", "a comma stands before the closing ]")]),
    "no comma": ("json", '{"a": 1\n "b": 2}', [(2, 2, FILE, "a comma or } was expected")]),
    "no colon": ("json", '{"a" 1}', [(1, 6, "a", "a colon was expected after the key 'a'")]),
    "no end": ("json", '{"a": [1', [(1, 9, "a", "the file ends where a comma or ]")]),
    "more text": ("json", "{}\n{}", [(2, 1, FILE, "more text after the document's end")]),
    "open string": ("json", '{"a": "x}', [(1, 7, "a", "has no closing quote")]),
    "line break in string": ("json", '{"a": "x\ny"}', [(1, 9, "a", "a control character or line break")]),
    "tab in string": ("json", '{"a": "x\ty"}', [(1, 9, "a", "a control character or line break")]),
    "bad escape": ("json", '{"a": "\\q"}', [(1, 8, "a", "bad escape")]),
    "leading zero": ("json", '{"a": 01}', [(1, 7, "a", "'01' is not a JSON value")]),
    "plus": ("json", '{"a": +1}', [(1, 7, "a", "'+1' is not a JSON value")]),
    "point": ("json", '{"a": 1.}', [(1, 7, "a", "'1.' is not a JSON value")]),
    "hexadecimal": ("json", '{"a": 0x1F}', [(1, 7, "a", "'0x1F' is not a JSON value")]),
    "too large": ("json", '{"a": 1e999}', [(1, 7, "a", "too large for a double")]),
    "not UTF-8": ("json", '{"a": "\udcff"}', [(1, 8, FILE, "byte 0xff is not UTF-8")]),
    "too deep": ("json", "[" * 300, [(1, 202, FILE, "nested deeper than 200 levels")]),
    "too deep for options": (
        "json",
        '{"a": ' * 60 + "1" + "}" * 60,
        [(1, 301, ".".join("a" * 50), "nested deeper than 50 levels")],
    ),
}

YAML: dict[str, Case] = {
    "empty": ("yaml", "", [(1, 1, FILE, "a host description is a table of options")]),
    "a list": ("yaml", "- 1", [(1, 1, FILE, "a host description is a table")]),
    "no": ("yaml", "a: no", [(1, 4, "a", 'write true or false, or "no" in quotes')]),
    "Yes": ("yaml", "a:\n  - Yes", [(2, 5, "a[0]", "'Yes' is a boolean to some YAML readers")]),
    "off": ("yaml", "a: {b: off}", [(1, 8, "a.b", "'off' is a boolean")]),
    "y": ("yaml", "y: 1", [(1, 1, FILE, "'y' is a boolean")]),
    "exponent": ("yaml", "a: 1e3", [(1, 4, "a", "'1e3' is a number to some YAML readers")]),
    "octal": ("yaml", "a: 0755", [(1, 4, "a", "'0755' is octal to some YAML readers")]),
    "underscore": ("yaml", "a: 1_000", [(1, 4, "a", "write it without _")]),
    "binary": ("yaml", "a: 0b11", [(1, 4, "a", "write it in decimal")]),
    "base 60": ("yaml", "a: 12:30", [(1, 4, "a", "'12:30' is a number in base 60")]),
    "date": ("yaml", "a: 2026-01-31", [(1, 4, "a", "'2026-01-31' is a date")]),
    "time": ("yaml", "a: 2026-01-31T10:00:00Z", [(1, 4, "a", "is a date")]),
    "nan": ("yaml", "a: .nan", [(1, 4, "a", "every number there is finite")]),
    "inf": ("yaml", "a: -.Inf", [(1, 4, "a", "every number there is finite")]),
    "no zero": ("yaml", "a: .5", [(1, 4, "a", "write the leading zero")]),
    "duplicate key": (
        "yaml",
        "a: 1\nb: 2\na: 3",
        [(3, 1, "a", "'a' stands twice in this mapping, first in line 1")],
    ),
    "quoted duplicate": ("yaml", "a: 1\n'a': 3", [(2, 1, "a", "stands twice")]),
    "number as key": ("yaml", "8080: 1", [(1, 1, FILE, "the key 8080 is not text")]),
    "null as key": ("yaml", "a: {~: 1}", [(1, 5, "a", "the key ~ is not text")]),
    "list as key": ("yaml", "? [a]\n: 1", [(1, 3, FILE, "a key is a list or a mapping")]),
    "merge key": ("yaml", "a: &x {b: 1}\nc:\n  <<: *x", [(3, 3, "c", "merge keys (<<) are not in YAML 1.2")]),
    "tag": ("yaml", "a: !secret x", [(1, 4, "a", "the tag !secret is not supported")]),
    "python tag": ("yaml", "a: !!python/name:os.system x", [(1, 4, "a", "is not supported")]),
    "mapping tag": ("yaml", "a: !!set {b}", [(1, 4, "a", "is not supported")]),
    "tab": ("yaml", "a:\n\tb: 1", [(2, 1, FILE, "a tab indents this line")]),
    "tab after spaces": ("yaml", "a:\n  b: 1\n  \tc: 1", [(3, 3, FILE, "a tab indents this line")]),
    "two documents": ("yaml", "a: 1\n---\nb: 1", [(2, 1, FILE, "a second document starts here")]),
    "open quote": ("yaml", 'a: "x', [(1, 6, FILE, "not YAML")]),
    "open list": ("yaml", "a: [1,", [(2, 1, FILE, "not YAML")]),
    "bad indentation": ("yaml", "a:\n  b: 1\n c: 1", [(3, 2, FILE, "not YAML")]),
    "unknown alias": ("yaml", "a: *x", [(1, 4, FILE, "not YAML")]),
    "alias of itself": ("yaml", "a: &x [*x]", [(1, 4, FILE, "nested deeper")]),
    "control character": ("yaml", "a: 1\nb: \x01", [(2, 4, FILE, "not YAML")]),
    "percent": ("yaml", "a: %x", [(1, 4, FILE, "not YAML")]),
    "colon in text": ("yaml", "a: b: c", [(1, 5, FILE, "not YAML")]),
}

TOML: dict[str, Case] = {
    "date": ("toml", "a = 2026-01-31", [(1, 5, "a", "2026-01-31 is a TOML date or time")]),
    "time": ("toml", "[a]\nb = [1, 10:00:00]", [(2, 9, "a.b[1]", "is a TOML date or time")]),
    "nan": ("toml", "a = nan", [(1, 5, "a", "nan is no number of JSON or Nix")]),
    "inf": ("toml", "a = {b = -inf}", [(1, 10, "a.b", "-inf is no number")]),
    "duplicate key": (
        "toml",
        "a = 1\nb = 2\na = 3",
        [(3, 1, "a", "the key 'a' stands twice, first in line 1")],
    ),
    "duplicate table": (
        "toml",
        "[a]\n[b]\n[a]",
        [(3, 2, "a", "the table 'a' stands twice, first in line 1")],
    ),
    "duplicate in line": ("toml", "a = {b = 1, b = 2}", [(1, 13, "a.b", "the key 'b' stands twice")]),
    "dotted duplicate": ("toml", "[a]\nb.c = 1\nb.c = 2", [(3, 3, "a.b.c", "stands twice, first in line 2")]),
    "value as table": ("toml", "a = 1\n[a.b]", [(2, 5, FILE, "not TOML")]),
    "no quotes": ("toml", "a = x", [(1, 5, FILE, "not TOML: invalid value")]),
    "no value": ("toml", "a =", [(1, 4, FILE, "not TOML: invalid value")]),
    "no equals sign": ("toml", "a\nb = 1", [(1, 2, FILE, "not TOML")]),
    "colon": ("toml", "a: 1", [(1, 2, FILE, "not TOML")]),
    "open string": ("toml", 'a = "x', [(1, 7, FILE, "not TOML")]),
    "open list": ("toml", "a = [1", [(1, 7, FILE, "not TOML")]),
    "bad escape": ("toml", 'a = "\\q"', [(1, 8, FILE, "not TOML")]),
    "leading zero": ("toml", "a = 0755", [(1, 6, FILE, "not TOML")]),
    "True": ("toml", "a = True", [(1, 5, FILE, "not TOML: invalid value")]),
    "stray bracket": ("toml", "a = [}", [(1, 6, FILE, "not TOML")]),
}


def _toml(body: str) -> str:
    return f"[{T}]\n{body}"


OPTIONS: dict[str, Case] = {
    "unknown option": ("toml", _toml("port = 1\nprot = 2"), [(3, 1, f"{T}.prot", "there is no such option")]),
    "unknown module": (
        "toml",
        "[services.tset]\na = 1",
        [(1, 11, "services.tset", "there is no such option")],
    ),
    "unknown root": ("toml", "[service.test]", [(1, 2, "service", "there is no such option")]),
    "unknown in group": (
        "yaml",
        "services: {test: {listen: {adress: x}}}",
        [(1, 28, f"{T}.listen.adress", "no such")],
    ),
    "quoted name": ("toml", _toml('"a b" = 1'), [(2, 1, f'{T}."a b"', "there is no such option")]),
    "dotted key in JSON": (
        "json",
        '{"services.test": {}}',
        [(1, 2, '"services.test"', "there is no such option")],
    ),
    "module is no table": ("toml", "[services]\ntest = 1", [(2, 8, T, "is 1 (an integer)")]),
    "services is no table": ("yaml", "services: [1]", [(1, 11, "services", "is [1] (a list)")]),
    "group is no table": ("toml", _toml('listen = "x"'), [(2, 10, f"{T}.listen", 'is "x" (a string)')]),
    "string for boolean": (
        "toml",
        _toml('enable = "true"'),
        [(2, 10, f"{T}.enable", 'is "true" (a string)')],
    ),
    "integer for boolean": ("toml", _toml("enable = 1"), [(2, 10, f"{T}.enable", "is 1 (an integer)")]),
    "boolean for integer": ("toml", _toml("port = true"), [(2, 8, f"{T}.port", "is true (a boolean)")]),
    "string for integer": (
        "yaml",
        "services:\n  test:\n    port: '80'",
        [(3, 11, f"{T}.port", 'is "80" (a string)')],
    ),
    "float for integer": (
        "toml",
        _toml("port = 80.0"),
        [(2, 8, f"{T}.port", "is 80.0 (a floating point number)")],
    ),
    "too large": ("toml", _toml("port = 65536"), [(2, 8, f"{T}.port", "is 65536 (an integer)")]),
    "too small": ("toml", _toml("port = -1"), [(2, 8, f"{T}.port", "is -1 (an integer)")]),
    "beyond 64 bits": (
        "json",
        '{"services": {"test": {"offset": 9223372036854775808}}}',
        [(1, 34, f"{T}.offset", "")],
    ),
    "null where none is": (
        "json",
        '{"services": {"test": {"name": null}}}',
        [(1, 32, f"{T}.name", "is null")],
    ),
    "not in the enum": ("toml", _toml('mode = "brigde"'), [(2, 8, f"{T}.mode", 'is "brigde" (a string)')]),
    "relative path": ("toml", _toml('root = "srv"'), [(2, 8, f"{T}.root", 'is "srv" (a string)')]),
    "pattern": ("toml", _toml('size = "16GB"'), [(2, 8, f"{T}.size", 'is "16GB" (a string)')]),
    "string for list": ("toml", _toml('args = "-m"'), [(2, 8, f"{T}.args", 'is "-m" (a string)')]),
    "wrong item": (
        "toml",
        _toml('args = [\n  "-m",\n  1,\n]'),
        [(4, 3, f"{T}.args[1]", "is 1 (an integer)")],
    ),
    "empty list": ("toml", _toml("servers = []"), [(2, 11, f"{T}.servers", "is [] (a list)")]),
    "wrong value of a set": ("toml", _toml("[services.test.env]\nA = 1.5"), [(3, 5, f"{T}.env.A", "is 1.5")]),
    "package is a path": ("toml", _toml('package = "/usr/bin/x"'), [(2, 11, f"{T}.package", "is")]),
    "package is code": ("toml", _toml('package = "pkgs.hello; x"'), [(2, 11, f"{T}.package", "is")]),
    "package is empty": ("toml", _toml('package = ""'), [(2, 11, f"{T}.package", 'is ""')]),
    "package in a list": (
        "toml",
        _toml('extraPackages = ["jq", "a b"]'),
        [(2, 24, f"{T}.extraPackages[1]", 'is "a b"')],
    ),
    "package or null": ("toml", _toml("fallback = 1"), [(2, 12, f"{T}.fallback", "is 1 (an integer)")]),
    "missing option": (
        "toml",
        "[services.test.disks.a]\nmode = 'raw'",
        [(1, 22, f"{T}.disks.a.path", "is missing")],
    ),
    "submodule or null": ("toml", _toml("disk = 1"), [(2, 8, f"{T}.disk", "is 1 (an integer)")]),
    "closest alternative": (
        "yaml",
        "services:\n  test:\n    disk:\n      path: x\n      sizeGiB: 0\n      mode: qcow",
        [(5, 16, f"{T}.disk.sizeGiB", "is 0"), (6, 13, f"{T}.disk.mode", 'is "qcow"')],
    ),
    "NUL": ("json", '{"services": {"test": {"name": "a\\u0000b"}}}', [(1, 32, f"{T}.name", "NUL")]),
    "lone surrogate": (
        "json",
        '{"services": {"test": {"name": "\\ud800"}}}',
        [(1, 32, f"{T}.name", "U+D800")],
    ),
    "NUL in a name": (
        "json",
        '{"services": {"test": {"env": {"\\u0000": "x"}}}}',
        [(1, 32, f'{T}.env."\\u0000"', "NUL")],
    ),
    "several at once": (
        "toml",
        _toml(
            'enable = 1\nports = 1\nport = 70000\nargs = [1, "x", 2]\n[services.test.listen]\ntls.enable = 0'
        ),
        [
            (2, 10, f"{T}.enable", "is 1"),
            (3, 1, f"{T}.ports", "no such option"),
            (4, 8, f"{T}.port", "is 70000"),
            (5, 9, f"{T}.args[0]", "is 1"),
            (5, 17, f"{T}.args[2]", "is 2"),
            (7, 14, f"{T}.listen.tls.enable", "is 0"),
        ],
    ),
}
