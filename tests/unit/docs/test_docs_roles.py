"""Roles in a description are found, except in what a fence makes code."""

from __future__ import annotations

import pytest

from ectools.docs.roles import replace_roles


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("", ""),
        ("no role, `code` {only}", "no role, `code` {only}"),
        ("see {option}`a.b`, {file}`/c`.", "see <option:a.b>, <file:/c>."),
        ("{env}``a`b``", "<env:a`b>"),
        ("{env}`a\nb`", "<env:a\nb>"),
        ("{Env}`a`", "{Env}`a`"),
        ("{env}`a", "{env}`a"),
        ("{env}`a``", "{env}`a``"),
        ("```\n{env}`a`\n```\n{env}`b`\n", "```\n{env}`a`\n```\n<env:b>\n"),
        ("~~~\n```\n{env}`a`\n~~~\n{env}`b`", "~~~\n```\n{env}`a`\n~~~\n<env:b>"),
        ("````\n```\n{env}`a`\n````\n{env}`b`", "````\n```\n{env}`a`\n````\n<env:b>"),
        ("```\n{env}`a`\n`````\n{env}`b`", "```\n{env}`a`\n`````\n<env:b>"),
        ("   ```nix\n{env}`a`\n   ```\n{env}`b`", "   ```nix\n{env}`a`\n   ```\n<env:b>"),
        ("```\n``` nix\n{env}`a`", "```\n``` nix\n{env}`a`"),
        ("{env}`a`\n```\n{env}`b`", "<env:a>\n```\n{env}`b`"),
    ],
)
def test_roles_outside_of_code_blocks(text: str, replaced: str) -> None:
    assert replace_roles(text, lambda role, content: f"<{role}:{content}>") == replaced
