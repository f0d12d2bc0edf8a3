"""What a rollout does next: pure functions of what is remembered and what is known, with no clock and no I/O.

Laws, which hold whatever fails and whenever the server is killed, as long as a decision is kept before it is
acted upon:

* No more nodes are given the release than the wave under way allows, and no wave opens before all who were
given it have said how they are: so a release that fails reaches the canaries and one wave more at the most. *
``taken`` and ``failed`` only grow, but for a place of which nobody may have been told; an end is never left,
and at an end other than DONE all nodes go back. * A node is given the release when it asks, and never
unasked: who is off takes no place of a wave. * Who is held, or no node of the group any more, is neither late
nor waited for, but where it boots the release already: how that boot ends is known by itself. Where all who
were given the release are such, others get their places.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ectools.errors import cut, show_list
from ectools.netboot.boots.model import BootState
from ectools.netboot.rollout.model import Rollout, RolloutState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.rollout.model import Known, RolloutPlan

MAX_FAILED_BESIDE = 32
"""Failed nodes that are kept beside those that are allowed: more of them end it no sooner, and what is kept
is bounded, however many say whatever at once.
"""
_BAD = frozenset({BootState.FAILED, BootState.UNHEALTHY})


def start_rollout(plan: RolloutPlan) -> Rollout:
    """A rollout at its beginning: the canaries' wave is open."""
    return Rollout(plan=plan, opened=plan.at)


def find_led_release(rollout: Rollout, node: str) -> str:
    """The id of the release that a node of the group boots."""
    plan = rollout.plan
    match rollout.state:
        case RolloutState.DONE:
            return plan.target
        case RolloutState.RUNNING | RolloutState.PAUSED:
            return plan.target if node in rollout.taken else plan.before
        case _:
            return plan.before


def list_fallbacks(rollout: Rollout, node: str, ran: str | None) -> list[str]:
    """What a node may boot where a boot host has not staged what it is led to: ids, the best first.

    ``ran``: the release with which it was healthy last. What has failed the rollout is none of them.
    """
    plan, led = rollout.plan, find_led_release(rollout, node)
    bad = {plan.target} if rollout.has_ended and rollout.state is not RolloutState.DONE else set()
    return [each for each in dict.fromkeys((ran, plan.before)) if each and each not in {led, *bad}]


def offer(rollout: Rollout, nodes: Iterable[str], known: Known) -> Rollout:
    """The rollout after these nodes have asked what to boot: some may have been given the release.

    To be kept before a node is told. What comes back is ``rollout`` itself where nothing has changed.
    """
    taken, untold = dict(rollout.taken), set(rollout.untold | _find_untold(rollout, known))
    places, quota = count_places(rollout, _build_is_here(rollout, known)), count_quota(rollout, known)
    for node in nodes:
        if node in untold and not rollout.has_ended:
            taken[node] = known.now  # and not when it was not told
            untold.discard(node)
        elif (
            rollout.state is RolloutState.RUNNING
            and node in known.nodes
            and node not in taken
            and places < quota
        ):
            taken[node] = known.now
            places = len(taken)
    if taken == rollout.taken and untold == rollout.untold:
        return rollout
    return replace(rollout, taken=taken, untold=frozenset(untold))


def is_untold(rollout: Rollout, node: str, doubtful: Mapping[str, Collection[float]]) -> bool:
    """Whether a node was given the release, and may not have been told so. ``doubtful`` as in ``Known``."""
    if rollout.has_ended or node not in rollout.taken:
        return False
    return node in rollout.untold or (
        rollout.taken[node] in doubtful.get(node, ())
        and node not in rollout.healthy
        and node not in rollout.failed
    )


def count_places(rollout: Rollout, is_here: Callable[[str], bool]) -> int:
    """How many places of the waves are taken: none where all who have one are away, and have said nothing.

    ``is_here`` says whether a node is one of ``Known.nodes``, or boots the release.
    """
    judged = rollout.healthy | rollout.failed.keys()
    return len(rollout.taken) if any(node in judged or is_here(node) for node in rollout.taken) else 0


def list_under_way(rollout: Rollout, known: Known) -> list[str]:
    """Who is under way and waited for, in the order in which they were given the release."""
    is_here = _build_is_here(rollout, known)
    return [node for node in rollout.under_way if is_here(node)]


def _build_is_here(rollout: Rollout, known: Known) -> Callable[[str], bool]:
    def is_here(node: str) -> bool:
        since = rollout.taken.get(node)
        return node in known.nodes or (
            since is not None
            and any(
                boot.state is BootState.BOOTING and _is_of(boot, rollout.plan.target, since=since)
                for boot in known.boots.get(node, ())
            )
        )

    return is_here


def count_nodes(rollout: Rollout, known: Known) -> int:
    """How many nodes waves are reckoned by: of those who have a place all count, wherever they are by now."""
    return len(known.nodes | rollout.taken.keys())


def count_quota(rollout: Rollout, known: Known) -> int:
    """How many may have the release."""
    return rollout.plan.quota(rollout.wave, count_nodes(rollout, known))


def decide(rollout: Rollout, known: Known) -> Rollout:
    """The rollout as this moment makes it: who is healthy, who has failed, the next wave, or an end.

    To be kept before it is acted upon. What comes back is ``rollout`` itself where nothing has changed.
    """
    if rollout.has_ended:
        return rollout
    judged = _judge(_set_back(_look_at_untold(rollout, known), known.now), known)
    if len(judged.failed) > judged.plan.max_failures:
        count = len(judged.failed)
        return _stop(judged, known, "1 node has failed" if count == 1 else f"{count} nodes have failed")
    places = count_places(judged, _build_is_here(judged, known))
    if not places and _is_forlorn(judged, known):
        return _stop(
            judged, known, "all who were given the release are held, or gone, and nobody is left to ask"
        )
    is_settled = places and not list_under_way(judged, known)
    if not is_settled or judged.state is RolloutState.PAUSED:
        return judged
    if not judged.healthy:
        return _stop(judged, known, "of those that were given the release none is healthy")
    is_full = places >= count_quota(judged, known)
    return _go_on(judged, known) if is_full or not list_awaited(judged, known) else judged


def _is_forlorn(rollout: Rollout, known: Known) -> bool:
    """Whether nobody can go on with it, for as long as anybody is waited for."""
    if known.nodes or not rollout.taken:
        return False
    return min(known.now - max(rollout.taken.values()), known.listened) > rollout.plan.off_after


def list_awaited(rollout: Rollout, known: Known) -> list[str]:
    """Who could take the release in this wave, is not off, and has not asked: by name.

    Who had nobody to ask is not off by that: each has the time of ``off_after`` again once somebody listens.
    """
    return sorted(
        node
        for node in known.nodes - rollout.taken.keys()
        if (heard := known.heard.get(node)) is not None
        and min(known.now - heard, known.listened) <= rollout.plan.off_after
    )


def pause(rollout: Rollout) -> Rollout:
    """Nobody further gets the release. Whoever fails meanwhile counts."""
    running = rollout.state is RolloutState.RUNNING
    return replace(rollout, state=RolloutState.PAUSED) if running else rollout


def resume(rollout: Rollout) -> Rollout:
    """It goes on where it was paused."""
    paused = rollout.state is RolloutState.PAUSED
    return replace(rollout, state=RolloutState.RUNNING) if paused else rollout


def abort(rollout: Rollout, *, why: str, now: float) -> Rollout:
    """All go back to the release before, because somebody says so; one that has ended stays as it is."""
    if rollout.has_ended:
        return rollout
    return _end(rollout, RolloutState.ABORTED, why=why, now=now)


def settle(rollout: Rollout) -> Rollout:
    """What follows from its end is done."""
    return replace(rollout, is_unsettled=False) if rollout.is_unsettled else rollout


def may_leave(rollout: Rollout, led_to: str | None) -> bool:
    """Whether the channel that the group follows leads elsewhere than at the start of a rollout that is over.

    ``led_to``: the id of that release; None: it leads to nothing that is known.
    """
    base = rollout.plan.base_id
    is_over = rollout.has_ended and not rollout.is_unsettled and not rollout.is_left
    return is_over and base is not None and led_to not in (None, base)


def leave(rollout: Rollout, led_to: str | None, *, counter: int | None = None) -> Rollout:
    """The channel that the group follows leads to the release ``led_to`` now, by a pointer of that counter.

    Whoever moves a channel after a rollout's end has the last word, as with what the fleet says. A lower
    counter is where the channel was once: so it stands on a host that was down meanwhile.
    """
    if not may_leave(rollout, led_to):
        return rollout
    least = rollout.plan.base_counter
    if least is not None and (counter is None or counter <= least):
        return rollout
    return replace(rollout, is_left=True)


def note_seen(rollout: Rollout, host: str) -> Rollout:
    """The fleet of a boot host says what the plan begins from: if it says another thing, that is newer."""
    return rollout if host in rollout.seen_by else replace(rollout, seen_by=rollout.seen_by | {host})


def claim(rollout: Rollout, *, claimed: float | None, now: float) -> Rollout:
    """A host begins to do what follows from an end that another one has made, as it stood at ``claimed``."""
    if not rollout.is_unsettled or rollout.claimed != claimed:
        return rollout  # somebody else was faster
    return replace(rollout, claimed=now)


def forsake(rollout: Rollout) -> Rollout:
    """The fleet has no such group any more, for so long that this is no slip: what it ended with is not kept
    for it, and one of that name that comes boots what the fleet says.
    """
    is_over = rollout.has_ended and not rollout.is_unsettled and not rollout.is_left
    return replace(rollout, is_left=True) if is_over else rollout


def _set_back(rollout: Rollout, now: float) -> Rollout:
    """The rollout by a clock that was set back since nodes were given the release: boots count from now."""
    if all(at <= now for at in rollout.taken.values()):
        return rollout
    return replace(rollout, taken={node: min(at, now) for node, at in rollout.taken.items()})


def _find_untold(rollout: Rollout, known: Known) -> frozenset[str]:
    return frozenset(node for node in known.doubtful if is_untold(rollout, node, known.doubtful))


def _look_at_untold(rollout: Rollout, known: Known) -> Rollout:
    """Who may not have been told of the release, with those that this host could not tell. Of them who is off
    has no place any more: it goes on with what it has, and asks when it comes.
    """
    untold = rollout.untold | _find_untold(rollout, known)
    off = {
        node
        for node in untold
        if not any(
            _is_of(boot, rollout.plan.target, since=rollout.taken[node]) for boot in known.boots.get(node, ())
        )
        and min(known.now - max(known.heard.get(node, 0.0), rollout.taken[node]), known.listened)
        > rollout.plan.off_after
    }
    if untold == rollout.untold and not off:
        return rollout
    taken = {node: at for node, at in rollout.taken.items() if node not in off}
    return replace(rollout, taken=taken, untold=untold - off)


def _judge(rollout: Rollout, known: Known) -> Rollout:
    healthy, failed = set(rollout.healthy), dict(rollout.failed)
    for node, since in rollout.taken.items():
        if node in failed:
            continue
        if len(failed) >= rollout.plan.max_failures + MAX_FAILED_BESIDE:
            break  # it has ended by that
        all_boots = known.boots.get(node, ())
        mine = [boot for boot in all_boots if _is_of(boot, rollout.plan.target, since=since)]
        bad = next((boot for boot in mine if boot.state in _BAD), None)
        why = _find_update_error(all_boots, rollout.plan.target, since=since)
        if bad is not None or (why is not None and node not in healthy):
            failed[node] = _explain(bad) if bad is not None else f"cannot take it: {cut(why or '')}"
            healthy.discard(node)
        elif node in healthy:
            continue
        elif any(boot.state is BootState.HEALTHY for boot in mine):
            healthy.add(node)
        # From when it was given the release, whatever it did: one that panics boots again and again, and each
        # of its boots is young. But who had nobody to ask or to tell meanwhile has all that time once more.
        # And who was held, or no node of the group, has it from when it came back. Who was not told of it is
        # not late for it.
        elif (node in known.nodes and node not in rollout.untold) and (
            min(known.now - max(since, known.back.get(node, since)), known.listened)
            > _find_within(rollout, mine)
        ):
            failed[node] = _explain_lateness(mine)
    if healthy == rollout.healthy and failed == rollout.failed:
        return rollout
    untold = rollout.untold - healthy - failed.keys()
    return replace(rollout, healthy=frozenset(healthy), failed=failed, untold=untold)


def _is_of(boot: NodeBoot, target: str, *, since: float) -> bool:
    """Whether a boot says how a node does with the release that it was given: it was begun for it, or it is
    of an earlier one that has brought the same system to the node's disk.
    """
    if boot.release != target:
        return False
    update = boot.update
    stays = update is not None and update.stays and update.release == target and update.at >= since
    return boot.started >= since or stays


def _find_update_error(boots: Sequence[NodeBoot], target: str, *, since: float) -> str | None:
    """Why a node on a disk, which was given a release, has not gone on to it; None: it has not said so."""
    # Of each boot the last word: one that has copied it has said no more, and a later one may.
    updates = [boot.update for boot in boots if boot.update is not None and boot.update.error is not None]
    return next((each.error for each in updates if each.release == target and each.at >= since), None)


def _find_within(rollout: Rollout, mine: list[NodeBoot]) -> float:
    """Seconds from being given the release: a machine that installs itself has as long as that may take."""
    return max([rollout.plan.within, *(boot.within for boot in mine if boot.install is not None)])


def _go_on(rollout: Rollout, known: Known) -> Rollout:
    """The next wave; after the last one, the end."""
    if rollout.wave < rollout.plan.last_wave:
        return replace(rollout, wave=rollout.wave + 1, opened=known.now)
    absent = sorted(known.nodes - rollout.taken.keys())
    why = f"off at its end, and given it when they come: {show_list(absent)}" if absent else None
    return _end(rollout, RolloutState.DONE, why=why, now=known.now)


def _stop(rollout: Rollout, known: Known, reason: str) -> Rollout:
    told = show_list([f"{node}: {why}" for node, why in rollout.failed.items()], joint="; ")
    why = f"{reason} ({told})" if rollout.failed else reason
    return _end(rollout, RolloutState.STOPPED, why=why, now=known.now)


def _end(rollout: Rollout, state: RolloutState, *, why: str | None, now: float) -> Rollout:
    return replace(rollout, state=state, why=why, ended=now, is_unsettled=True)


def _explain(boot: NodeBoot) -> str:
    return cut(boot.why or f"{boot.state} after {boot.last_stage}")


def _explain_lateness(boots: list[NodeBoot]) -> str:
    if not boots:
        return "it was given the release, and did not come for it"
    again = f", at its boot number {len(boots)}" if len(boots) > 1 else ""
    return f"no healthy report; last seen at {boots[-1].last_stage}{again}"
