"""The option reference in Markdown: one page for each module, and an index."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING
from urllib.parse import quote

from ectools.docs.model import make_anchor
from ectools.docs.roles import replace_roles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ectools.docs.constraints import Constraint
    from ectools.docs.model import CodeExample, Declaration, ModuleDoc, OptionDoc
    from ectools.docs.reference import Reference


def write_pages(reference: Reference) -> dict[str, str]:
    """File name → text, for all pages of the reference."""
    modules = reference.modules
    links = {
        option.name: f"{module.name}.md#{quote(option.anchor)}"
        for module in modules
        for option in module.options
    }
    pages = {f"{module.name}.md": _write_module(module, links) for module in modules}
    pages["index.md"] = _write_index(modules)
    return pages


def _write_index(modules: Sequence[ModuleDoc]) -> str:
    lines = ["# Options", ""]
    for module in modules:
        lines += [f"- [`{module.prefix}`]({module.name}.md): {len(module.options)} options"]
    return "\n".join(lines) + "\n"


def _write_module(module: ModuleDoc, links: Mapping[str, str]) -> str:
    blocks = [f"# `{module.prefix}`", f"The options of the NixOS module `{module.name}`."]
    blocks += [f"- [`{option.name}`](#{quote(option.anchor)})" for option in module.options]
    toc = "\n".join(blocks[2:])
    entries = [_write_option(option, module, links) for option in module.options]
    return "\n\n".join([*blocks[:2], toc, *entries]) + "\n"


def _write_option(option: OptionDoc, module: ModuleDoc, links: Mapping[str, str]) -> str:
    def write_role(role: str, content: str) -> str:
        link = links.get(content) if role == "option" else None
        text = content if role == "manpage" else code_span(content)
        return f"[{text}]({link.removeprefix(f'{module.name}.md')})" if link else text

    fields = [f"- Type: {escape_markdown(option.type)}"]
    fields += [_write_constraint(constraint) for constraint in option.constraints]
    if option.required:
        fields.append("- Must be set")
    if option.read_only:
        fields.append("- Read-only")
    if option.internal:
        fields.append("- Internal")
    for label, code in (("Default", option.default), ("Example", option.example)):
        if code is not None:
            fields.append(f"- {label}: {_write_code(code, write_role)}")
    if option.declarations:
        fields.append("- Declared in: " + ", ".join(map(_write_declaration, option.declarations)))
    if option.related_packages:
        fields.append(f"- Related packages:\n\n{textwrap.indent(option.related_packages, '  ')}")
    if option.formerly:
        fields.append("- Formerly: " + ", ".join(map(code_span, option.formerly)))
    anchors = "".join(
        f'<a id="{anchor}"></a>' for anchor in (option.anchor, *map(make_anchor, option.formerly))
    )
    return "\n\n".join(
        [
            f"## {anchors}{code_span(option.name)}",
            replace_roles(option.description, write_role) or "No description.",
            "\n".join(fields),
        ]
    )


def _write_constraint(constraint: Constraint) -> str:
    values = ", ".join(
        escape_markdown(value) if constraint.note else code_span(value) for value in constraint.values
    )
    return f"- {constraint.title}: {values}"


def _write_declaration(place: Declaration) -> str:
    text = code_span(place.show())
    return text if place.url is None else f"[{text}]({place.url})"


def _write_code(code: CodeExample, write_role: Callable[[str, str], str]) -> str:
    if code.words:
        return " ".join(replace_roles(code.text, write_role).split())
    if "\n" not in code.text:
        return code_span(code.text)
    fence = "`" * max(3, _longest_run(code.text) + 1)
    body = "\n".join(f"  {line}".rstrip() for line in [f"{fence}nix", *code.text.splitlines(), fence])
    return f"\n\n{body}"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>{}#|~])", r"\\\1", text)


def code_span(text: str) -> str:
    """A code span whatever the text holds (CommonMark 6.1)."""
    ticks = "`" * (_longest_run(text) + 1) if "`" in text else "`"
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
