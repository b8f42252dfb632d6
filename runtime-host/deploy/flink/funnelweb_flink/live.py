"""Hot lists and counters in Redis: the keys of `runtime-host/store-redis`.

What a pane has so far is compared with what was applied of it, and the difference is added,
in one script: whatever fires again after a failure changes nothing twice. What was applied is
kept beside each key for `memory_s`; after that, what the job itself remembers counts.
"""

import logging
import time
from collections import defaultdict
from importlib.resources import files

import redis

from .firing import Firing
from .totals import Amounts, HeatTotal, Totals

# Those of `runtime-host/store-redis/src/live/effects.rs`.
HOT_MEMBERS = 100_000
HOT_MEMBERS_HIGH = HOT_MEMBERS + HOT_MEMBERS // 8
HOT_CHANGES = 20_000
REBASE_HALF_LIVES = 256


class Live:
    def __init__(self, client: redis.Redis, prefix: str, memory_s: int) -> None:
        self._client, self._prefix, self._memory_s = client, prefix, memory_s
        scripts = files("funnelweb_flink") / "lua"
        self._hot = client.register_script((scripts / "hot_total.lua").read_text())
        self._count = client.register_script((scripts / "count_total.lua").read_text())

    def apply(self, firing: Firing, totals: Totals) -> None:
        lists: dict[tuple[str, int], list[HeatTotal]] = defaultdict(list)
        for one in totals.heat:
            lists[one.scenario_id, one.half_life_s].append(one)
        for (scenario, half_life_s), heat in lists.items():
            self._heat(firing, scenario, half_life_s, heat)
        for item, amounts in totals.counts.items():
            # Nothing follows the item's id, so it may hold what it likes.
            self._add(firing, f"{self._prefix}item:stats:{_part(firing.tenant)}:{item}", amounts)
        if totals.metrics:
            self._add(firing, f"{self._prefix}stream:counters:{_part(firing.tenant)}", totals.metrics)

    def forget_profile(self, tenant: str, scenario: str, user: str) -> None:
        """Has the cache read a profile anew."""
        self._client.unlink(f"{self._prefix}user:profile:{_part(tenant)}:{_part(user)}:{_part(scenario)}")

    def _heat(self, firing: Firing, scenario: str, half_life_s: int, heat: list[HeatTotal]) -> None:
        key = f"{self._prefix}hot:items:{_part(firing.tenant)}:{_part(scenario)}"
        keys = [key, _beside(key, "decay"), _beside(key, "changes"), _beside(key, f"pane:{firing.name()}")]
        epoch = f"{firing.name()}-{time.time_ns()}"
        last_ms = max(one.last_ms for one in heat)
        lists = [HOT_MEMBERS, HOT_MEMBERS_HIGH, HOT_CHANGES, REBASE_HALF_LIVES]
        items = [text for one in heat for text in (one.item_id, repr(one.weight), repr(one.before))]
        self._hot(keys, [self._memory_s, epoch, half_life_s, *lists, last_ms, firing.pane.to_ms, *items])

    def _add(self, firing: Firing, key: str, amounts: Amounts) -> None:
        fields = [text for name, (now, before) in amounts.items() for text in (name, repr(now), repr(before))]
        wrong = self._count([key, _beside(key, f"pane:{firing.name()}")], [self._memory_s, *fields])
        if wrong:
            logging.error("a counter was not changed: %s", wrong)


def _part(id_: str) -> str:
    # No id holds a `%`.
    return id_.replace(":", "%3A")


def _beside(key: str, what: str) -> str:
    return f"{{{key}}}:{what}"
