"""``flake_metadata``: where the source of a flake is, and what its inputs are locked to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pynix_eval_shim import invocation
from pynix_eval_shim.errors import NixError, Report
from pynix_eval_shim.evaluation import not_an_option, override
from pynix_eval_shim.invocation import Nix
from pynix_eval_shim.limits import Limits
from pynix_eval_shim.process import ASK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FlakeMetadata:
    """A flake that was fetched: ``path`` is its source, in the store.

    ``inputs`` maps the name of each input of its own to the locked reference, as ``builtins.fetchTree`` takes
    it; one that follows an input of an input is left out.
    """

    path: str
    inputs: Mapping[str, Mapping[str, Any]]


def flake_metadata(
    reference: str,
    *,
    override_inputs: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limits: Limits | None = None,
    nix: Nix | None = None,
) -> FlakeMetadata:
    """The source and the inputs of a flake, by ``nix flake metadata``; its lock file is not touched.

    Raises FetchFailedError, and any other NixError.
    """
    nix = nix or Nix()
    argv = [nix.find("nix"), "flake", "metadata", not_an_option(reference), "--json", "--no-write-lock-file"]
    argv += invocation.choose_store(nix, needed=True).arguments
    argv += [*invocation.settings(nix), *override(override_inputs)]
    finished, diagnostics = invocation.call(
        nix, argv, limits=limits or Limits(), cwd=cwd, ask_seconds=ASK_SECONDS
    )
    try:
        found = json.loads(finished.stdout)
        nodes = found["locks"]["nodes"]
        root = nodes[found["locks"]["root"]].get("inputs", {})
        inputs = {
            name: nodes[node]["locked"]
            for name, node in root.items()
            if isinstance(node, str) and "locked" in nodes[node]
        }
        return FlakeMetadata(path=found["path"], inputs=inputs)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        report = Report(argv=finished.argv, stderr=diagnostics.text)
        raise NixError(
            f"nix flake metadata wrote what cannot be understood: {finished.stdout[:200]!r}", report=report
        ) from error
