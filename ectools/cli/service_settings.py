"""The services whose settings a program of this package reads, and what it would refuse of a description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.documents.located import locate_problems
from ectools.documents.problem import OptionProblem, ProblemKind
from ectools.parsing import Problems
from ectools.schemas import fill_defaults, load_schema
from ectools.settings_file import SERVICES, leave_out_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.documents.load import HostDescription


def find_contradictions(description: HostDescription) -> list[OptionProblem]:
    """What the programs refuse of the enabled services of a description that the schemas accept.

    Options that contradict one another, and values that a schema has no words for: each where it stands.
    """
    services: Any = description.root.value
    for step in SERVICES:
        services = services.get(step, {})
    found = []
    for name, (schema_name, build) in _list_builders().items():
        service = services.get(name, {})
        if not service.get("enable", False):
            continue
        schema = load_schema(schema_name)
        document = dict(service)
        leave_out_packages(document, schema.document)
        problems = Problems(schema.prefix)
        build(fill_defaults(document, schema), problems)
        found += locate_problems(problems.found, description.root, file=description.file)
    return [OptionProblem(kind=ProblemKind.VALUE, **vars(problem)) for problem in found]


def _list_builders() -> dict[str, tuple[str, Callable[[Mapping[str, Any], Problems], object]]]:
    from ectools.netboot.settings.build import build_server_settings
    from ectools.netboot.settings.model import NETBOOT_SCHEMA
    from ectools.vm.build import build_guest_settings
    from ectools.vm.settings import GUEST_SCHEMA

    return {
        "netboot": (NETBOOT_SCHEMA, build_server_settings),
        "ipxe-qemu": (GUEST_SCHEMA, build_guest_settings),
    }
