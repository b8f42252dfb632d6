"""What panes add goes to Redis and MongoDB; what windows say, to topics."""

import json
from collections.abc import Iterator
from typing import Any

import pymongo
import redis
from pyflink.common import Row, Time, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor, StateTtlConfig, ValueState, ValueStateDescriptor

from . import topics
from .firing import Firing, Letter
from .live import Live
from .model import Aggregated
from .operator import Operator, OperatorError
from .parts import DEAD
from .profiles import Profiles
from .record import Origin
from .settings import Settings
from .strict import parse
from .totals import totals

TIMEOUT_S = 3
RETRIES = 3
# Keys whose timers are known to be set.
KEYS = 100_000


class Results(KeyedProcessFunction):
    """Keyed by operator, tenant and key."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._operators: dict[str, Operator] = {}
        self._live: Live
        self._profiles: Profiles
        self._panes: MapState
        self._of: ValueState
        self._reached: ValueState
        self._set: set[str] = set()

    def open(self, runtime_context: RuntimeContext) -> None:
        settings = self._settings
        self._operators = Operator.load_all(settings.operators)
        retry = redis.retry.Retry(redis.backoff.ExponentialBackoff(), RETRIES)
        client = redis.Redis.from_url(settings.redis_url, socket_timeout=TIMEOUT_S, retry=retry)
        self._live = Live(client, settings.redis_key_prefix, settings.memory_s)
        mongo: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            settings.mongodb_url, serverSelectionTimeoutMS=1000 * TIMEOUT_S, retryWrites=False, tz_aware=True
        )
        self._profiles = Profiles(mongo[settings.mongodb_database], settings.memory_s)
        # Accumulators by the begin of their pane.
        panes = MapStateDescriptor("panes", Types.LONG(), Types.PICKLED_BYTE_ARRAY())
        self._panes = runtime_context.get_map_state(panes)
        self._of = runtime_context.get_state(ValueStateDescriptor("of", Types.PICKLED_BYTE_ARRAY()))
        # The time of the last timer, kept as long as panes.
        reached = ValueStateDescriptor("reached", Types.LONG())
        reached.enable_time_to_live(StateTtlConfig.new_builder(Time.seconds(2 * settings.memory_s)).build())
        self._reached = runtime_context.get_state(reached)

    def process_element(self, value: Firing, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        self._apply(value)
        if value.over:
            return
        windows, timers, from_ms = self._operators[value.operator].windows, ctx.timer_service(), value.pane.from_ms
        if self._of.value() is None:
            self._of.update((value.operator, value.tenant, value.key))
        watermark_ms = timers.current_watermark()
        # After a failure it begins anew, and windows whose panes are gone would speak of the others.
        watermark_ms = max(watermark_ms, self._reached.value() or watermark_ms)
        self._panes.put(from_ms, value.total)
        begins = self._without_timers(value)
        for begin_ms in begins:
            timers.register_event_time_timer(windows.over_ms(begin_ms))
        for end_ms in sorted({end_ms for begin_ms in begins for end_ms in windows.ends(begin_ms)}):
            if end_ms - 1 > watermark_ms:
                timers.register_event_time_timer(end_ms - 1)
            elif end_ms in windows.ends(from_ms) and not windows.has_closed(end_ms, watermark_ms):
                # It spoke, and does so again.
                yield from self._say(end_ms)

    def _without_timers(self, firing: Firing) -> list[int]:
        """Where panes of the key begin that need timers: the one that fires, and all when nothing came
        to the key since the job began. PyFlink loses timers that are set while a checkpoint begins."""
        group = firing.group()
        if group in self._set:
            return [firing.pane.from_ms]
        if len(self._set) >= KEYS:
            self._set.clear()
        self._set.add(group)
        return list(self._panes.keys())

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        of = self._of.value()
        if of is None:
            return
        windows = self._operators[of[0]].windows
        if (timestamp + 1) % windows.slide_ms == 0:
            yield from self._say(timestamp + 1)
        self._reached.update(timestamp)
        over = [from_ms for from_ms in self._panes.keys() if windows.over_ms(from_ms) <= timestamp]
        for from_ms in over:
            self._panes.remove(from_ms)
        if self._panes.is_empty():
            self._of.clear()

    def _apply(self, firing: Firing) -> None:
        added = totals(firing.sums, firing.before)
        self._live.apply(firing, added)
        for taste in added.tastes:
            self._profiles.apply(firing, taste)
            # Whether it changed now or before a failure.
            self._live.forget_profile(firing.tenant, taste.scenario_id, taste.user_id)

    def _say(self, end_ms: int) -> Iterator[Any]:
        """What the window says that ends then."""
        name, tenant, key = self._of.value()
        operator, prefix = self._operators[name], self._settings.topic_prefix
        windows = operator.windows
        panes = [self._panes.get(from_ms) for from_ms in windows.panes(end_ms) if self._panes.contains(from_ms)]
        if not panes:
            return
        span = windows.window(end_ms)
        try:
            whole = panes[0] if len(panes) == 1 else operator.merge([panes])[0]
            [messages] = operator.summary([Aggregated(key, span, whole)])
        except OperatorError as error:
            origin, window = Origin(topics.behaviors(prefix, tenant)), "/".join((*key, str(end_ms)))
            yield DEAD, Letter(origin, f"{name}: {error}", window.encode())
            return
        for message in messages:
            # The topics are those of all tenants, so a message says whose it is.
            body = {**parse(message.body), "tenant_id": tenant}
            yield Row(prefix + message.topic, f"{tenant}/{message.key}", json.dumps(body))
