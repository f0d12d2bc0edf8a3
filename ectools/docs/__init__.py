"""Option documentation, from the schemas alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

INDEX = "index.md"


def build_pages(schemas: Sequence[str] = ()) -> dict[str, bytes]:
    """File name → content of the option reference, ``INDEX`` among them.

    ``schemas`` are names or files; all of this project's where none is given. Raises InputError where there
    is no such schema.
    """
    from ectools.docs.markdown import write_pages
    from ectools.docs.model import build_module
    from ectools.schemas import load_schema, schema_names

    modules = [build_module(load_schema(name)) for name in schemas or schema_names()]
    return {name: text.encode() for name, text in write_pages(modules).items()}
