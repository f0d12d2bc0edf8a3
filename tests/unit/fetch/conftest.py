"""The forge of the tests, as any server, and a clock: for the tests of this directory."""

from support.staging import any_query, clock, forge, no_proxies

__all__ = ["any_query", "clock", "forge", "no_proxies"]
