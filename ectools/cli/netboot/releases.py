"""``ectools netboot releases``: what is staged, kept, damaged, and no longer needed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ectools.cli.complete import complete_release
from ectools.cli.lazy import CommandGroup
from ectools.cli.netboot.state import load_state, show_size, state_options
from ectools.errors import InputError
from ectools.netboot.fleet.model import CHANNEL_PREFIX
from ectools.netboot.release.channels import list_followed
from ectools.netboot.release.store import ReleaseStore
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.release.manifest import Release


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: ectools netboot releases list --state-dir ./netboot",
)
def releases() -> None:
    """Staged releases: list, compare, pin, verify, collect."""


@releases.command("list", epilog="Example: ectools netboot releases list --json")
@state_options
@click.option("--json", "as_json", is_flag=True, help="Print an array of releases on standard output.")
def list_command(*, config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """List what is staged, the newest first."""
    from ectools.netboot.release.manifest import describe_release

    store = _open_store(config, state_dir)
    found = [(release, _find_marks(store, release)) for release in store.list_releases()]
    if as_json:
        click.echo(json.dumps([{**describe_release(release), "marks": marks} for release, marks in found]))
        return
    for release, marks in found:
        staged = datetime.fromtimestamp(release.staged_at, UTC).isoformat(timespec="minutes")
        words = [
            release.id,
            release.tag or "-",
            staged.replace("+00:00", "Z"),
            show_size(release.size),
            *marks,
            *sorted({each.architecture for each in release.systems if each.architecture is not None}),
        ]
        click.echo("  ".join(words))


@releases.command(epilog="Example: ectools netboot releases pin boot-v2026.03.02")
@state_options
@click.argument("wanted", metavar="RELEASE", shell_complete=complete_release)
def pin(*, config: Path | None, state_dir: str | None, wanted: str) -> None:
    """Keep a release from being collected: RELEASE is a tag, an id, or channel:NAME."""
    from ectools.netboot.release.pins import pin as pin_release

    store = ReleaseStore(load_state(config, state_dir).state_dir)
    release = pin_release(store, _need_id(store, wanted))
    click.echo(f"{release.title}: pinned")


@releases.command(epilog="Example: ectools netboot releases unpin boot-v2026.03.02")
@state_options
@click.argument("wanted", metavar="RELEASE", shell_complete=complete_release)
def unpin(*, config: Path | None, state_dir: str | None, wanted: str) -> None:
    """Let a release be collected again: RELEASE is a tag, an id, or channel:NAME."""
    from ectools.netboot.release.pins import unpin as unpin_release

    store = ReleaseStore(load_state(config, state_dir).state_dir)
    release_id = _need_id(store, wanted)
    done = unpin_release(store, release_id)
    click.echo(f"{release_id}: {'no longer pinned' if done else 'was not pinned'}")


@releases.command(epilog="Example: ectools netboot releases collect --dry-run")
@state_options
@click.option(
    "--keep", type=int, metavar="N", help="How many to leave beside the current and the previous one."
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print an array of {id, tag, fate}.")
def collect(
    *, config: Path | None, state_dir: str | None, keep: int | None, dry_run: bool, as_json: bool
) -> None:
    """Remove old releases.

    Never one that is current, previous, pinned, a rollout's, a channel's, or being served.
    """
    from ectools.netboot.release.prune import prune as collect_releases

    settings = load_state(config, state_dir, **{"release.keep": keep})
    store = ReleaseStore(settings.state_dir)
    found = collect_releases(store, keep=settings.release.keep, dry_run=dry_run)
    if as_json:
        click.echo(
            json.dumps(
                [{"id": each.release.id, "tag": each.release.tag, "fate": each.retention} for each in found]
            )
        )
        return
    for each in found:
        retention = "would be removed" if dry_run and each.retention == "removed" else str(each.retention)
        click.echo(f"{each.release.title}: {retention}")


@releases.command(epilog="Example: ectools netboot releases verify")
@state_options
@click.argument("wanted", metavar="[RELEASE]", required=False, shell_complete=complete_release)
@click.option("--json", "as_json", is_flag=True, help="Print an array of {id, file, fault}.")
def verify(*, config: Path | None, state_dir: str | None, wanted: str | None, as_json: bool) -> int:
    """Read staged files again and compare them with their hashes; exit status 1 where one is damaged.

    RELEASE is a tag, an id, or channel:NAME.
    """
    from ectools.netboot.release.verify import check_staged

    store = _open_store(config, state_dir)
    ids = store.list_ids() if wanted is None else [_need_id(store, wanted)]
    found = []
    for checked in (check_staged(store, each) for each in ids):
        found += [(checked, damage) for damage in checked.damage]
        if not as_json and not checked.damage:
            click.echo(f"{checked.title}: whole")
    if as_json:
        faults = [{"id": each.id, "file": damage.name, "fault": damage.fault} for each, damage in found]
        click.echo(json.dumps(faults))
    else:
        for each, damage in found:
            click.echo(f"{each.title}: {damage.name} {damage.fault}")
    return 1 if found else 0


@releases.command(epilog="Example: ectools netboot releases diff boot-v2026.03.02 channel:canary")
@state_options
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--json", "as_json", is_flag=True, help="Print {old, new, packages, files, new_bytes}.")
def diff(*, config: Path | None, state_dir: str | None, old: str, new: str, as_json: bool) -> None:
    """Show which packages and which bytes change from one staged release to another.

    Each is a tag, an id, or channel:NAME. Packages are known where releases have installed systems' closures
    (`ectools netboot pack --with-system`).
    """
    from ectools.netboot.release.difference import describe_difference, find_difference

    store = _open_store(config, state_dir)
    before, after = (_need_release(store, each) for each in (old, new))
    found = find_difference(store, before, after)
    if as_json:
        shown = {"old": before.id, "new": after.id, **describe_difference(found)}
        click.echo(json.dumps(shown))
        return
    click.echo(f"{before.title} → {after.title}")
    for package in found.packages or ():
        versions = (
            ", ".join(each or "(no version)" for each in side) for side in (package.before, package.after)
        )
        sides = " → ".join(side or "(none)" for side in versions)
        click.echo(
            f"  {package.name}: {sides}, {'+' if package.grows >= 0 else '-'}{show_size(abs(package.grows))}"
        )
    for file in found.files:
        sizes = ("(none)" if each is None else show_size(each) for each in (file.before, file.after))
        click.echo(f"  {file.name}: {' → '.join(sizes)}")
    click.echo(f"  {show_size(found.new_bytes)} of {show_size(after.size)} are new")


def _need_release(store: ReleaseStore, wanted: str) -> Release:
    """The staged release of a tag, an id or a channel. Raises InputError."""
    release = store.find(_need_id(store, wanted))
    if release is None:
        raise _unknown(store, wanted)
    return release


def _need_id(store: ReleaseStore, wanted: str) -> str:
    """The id that a tag or a channel means; what looks like an id, staged or not. Raises InputError."""
    from ectools.netboot.release.manifest import ID_PATTERN
    from ectools.netboot.release.tags import ReleaseTags

    found = ReleaseTags(store).find_id(wanted)
    if found is None and ID_PATTERN.fullmatch(wanted) is None:
        raise _unknown(store, wanted)
    return found or wanted


def _unknown(store: ReleaseStore, wanted: str) -> InputError:
    tags = {release.tag for release in store.list_releases()}
    known = [*store.list_ids(), *(tag for tag in tags if tag is not None)]
    hint = did_you_mean(wanted, known, otherwise="`ectools netboot releases list` shows them")
    return InputError(f"{wanted}: no such release is staged", hint=hint)


def _open_store(config: Path | None, state_dir: str | None) -> ReleaseStore:
    """The store, which is there. Raises StoreError."""
    store = ReleaseStore(load_state(config, state_dir).state_dir)
    store.require()
    return store


def _find_marks(store: ReleaseStore, release: Release) -> list[str]:
    sets = {
        "pinned": store.list_pinned(),
        "rollout": store.list_led(),
        "withdrawn": store.list_withdrawn(),
    }
    return [
        *(name for name in ("current", "previous") if store.find_link_id(name) == release.id),
        *(name for name, ids in sets.items() if release.id in ids),
        *(f"{CHANNEL_PREFIX}{name}" for name, led in list_followed(store).items() if led == release.id),
    ]


COMMAND = releases
