"""Profiles in MongoDB: the documents of `runtime-host/store-mongodb`, moved as
`runtime-host/factor-documents/src/profile` moves them.

A profile remembers, in `_fw.panes`, what was applied of the last panes that moved it, and is
written on condition of its version: whatever fires again after a failure moves it by the
difference.
"""

import json
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import bson
from bson.int64 import Int64
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from .decay import factor
from .firing import Firing
from .totals import TasteTotal

Document = dict[str, Any]

ATTEMPTS = 24
LONGEST_WAIT_S = 0.1
# What is remembered. Of a user, three panes take events at a time, and older ones what is late.
PANES = 16
# Those of `runtime-host/factor-documents/src/profile`.
LEAST_SCORE = 1e-6
PREFERENCES = 128
FAVORITES = 5
DIGITS = 9
DOCUMENT_BYTES = 256 * 1024
_ESCAPE = "％"


@dataclass(slots=True)
class _Move:
    """What to add, as of `at_ms`."""

    preferences: dict[tuple[str, str], float]
    counters: dict[str, float]
    at_ms: int
    half_life_s: int


class Profiles:
    def __init__(self, database: Database[Document], memory_s: int) -> None:
        self._memory_s = memory_s
        self._profiles: Collection[Document] = database["user_profiles"]
        self._state: Collection[Document] = database["fw_state"]

    def apply(self, firing: Firing, taste: TasteTotal) -> bool:
        """Brings a profile to what the pane has so far; whether that changed it."""
        wait_s = 0.001
        for _ in range(ATTEMPTS):
            changed = self._try(firing, taste)
            if changed is not None:
                return changed
            time.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        raise RuntimeError("mongodb: other writers came between each time")

    def _try(self, firing: Firing, taste: TasteTotal) -> bool | None:
        """None when another writer came between."""
        user, scenario = taste.user_id, taste.scenario_id
        handle = xxh3_64_intdigest(user.encode())
        # As the host makes it: 96 bits of a hash of what is unique.
        parts = b"\0".join((firing.tenant.encode(), scenario.encode(), handle.to_bytes(8, "big")))
        id_ = bson.ObjectId(xxh3_128_digest(parts)[:12])
        place = {"_id": id_, "tenant_id": firing.tenant, "scenario_id": scenario, "user_id": user}
        found = self._profiles.find_one(place)
        own = (found or {}).get("_fw", {})
        now = datetime.now(UTC)
        applied, panes = self._remembered(own, firing, taste, int(now.timestamp()))
        move = _difference(firing, taste, applied)
        if move is None:
            return False
        moved = _moved(found or {}, move) | {"updated_at": now}
        size = len(bson.encode({**(found or {}), **moved}))
        if size > DOCUMENT_BYTES:
            logging.warning("a profile of %s has no room for more and was left as it is", scenario)
            return False
        if found is None:
            version = self._floor(firing.tenant) + 1
            signed = handle - 2**64 if handle >= 2**63 else handle
            own = {"handle": Int64(signed), "version": Int64(version), "status": "", "panes": panes}
            try:
                self._profiles.insert_one({**place, "created_at": now, **moved, "_fw": own})
            except DuplicateKeyError:
                return None
            return True
        version = int(own.get("version", 0))
        change = moved | {"_fw.panes": panes, "_fw.version": Int64(version + 1)}
        done = self._profiles.update_one({**place, "_fw.version": version}, {"$set": change})
        return True if done.matched_count else None

    def _remembered(
        self, own: Document, firing: Firing, taste: TasteTotal, now_s: int
    ) -> tuple[Document | None, list[Document]]:
        """What was applied of the pane, and what is to be remembered when it is applied as it is now."""
        name = f"{firing.name()}/{taste.half_life_s}"
        # The job forgets a pane later than this.
        panes = [pane for pane in own.get("panes", []) if pane["at_s"] > now_s - self._memory_s]
        same = next((pane for pane in panes if pane["pane"] == name), None)
        others = [pane for pane in panes if pane is not same]
        new = {"pane": name, "at_s": Int64(now_s), "applied": json.dumps(_applied(taste))}
        return json.loads(same["applied"]) if same else _applied(taste.before), [*others, new][-PANES:]

    def _floor(self, tenant: str) -> int:
        """The version above which new documents start: none that was deleted had a higher one."""
        entry = self._state.find_one({"_id": f"floor/{tenant}"})
        return int((entry or {}).get("version", 0))


def _applied(taste: TasteTotal | None) -> Document | None:
    if taste is None:
        return None
    preferences = [[name, value, amount] for (name, value), amount in taste.preferences.items()]
    return {"preferences": preferences, "counters": taste.counters}


def _difference(firing: Firing, taste: TasteTotal, applied: Document | None) -> _Move | None:
    before = applied or {"preferences": [], "counters": {}}
    preferences = dict(taste.preferences)
    for name, value, amount in before["preferences"]:
        preferences[name, value] = preferences.get((name, value), 0.0) - amount
    counters = dict(taste.counters)
    for name, amount in before["counters"].items():
        counters[name] = counters.get(name, 0.0) - amount
    # From the end of the pane to its last event.
    aged = factor(firing.pane.to_ms, taste.last_ms, taste.half_life_s)
    preferences = {key: amount * aged for key, amount in preferences.items() if amount != 0.0}
    counters = {name: amount for name, amount in counters.items() if amount != 0.0}
    if not preferences and not counters:
        return None
    return _Move(preferences, counters, taste.last_ms, taste.half_life_s)


def _moved(document: Document, move: _Move) -> Document:
    """The fields of the document that the move changes."""
    known = document.get("preferences_at_ms")
    before_ms = int(known) if known is not None and _is_number(known) else None
    at_ms = max(before_ms or 0, move.at_ms)
    aged = 1.0 if before_ms is None else factor(before_ms, at_ms, move.half_life_s)
    preferences, features = _part(document, "preferences"), _part(document, "features")
    scores = {
        name: {unescape(value): score * aged for value, score in values.items() if _is_number(score)}
        for name, values in preferences.items()
        if name.endswith("_scores") and isinstance(values, dict)
    }
    decay = factor(move.at_ms, at_ms, move.half_life_s)
    for (name, value), amount in move.preferences.items():
        of = scores.setdefault(escape("tag_scores" if name == "tags" else f"{name}_scores"), {})
        of[value] = of.get(value, 0.0) + amount * decay
    for name, values in scores.items():
        kept = [(value, score) for value, score in values.items() if abs(score) >= LEAST_SCORE]
        if len(kept) > PREFERENCES:
            kept = sorted(kept, key=lambda one: (-abs(one[1]), one[0]))[:PREFERENCES]
        scores[name] = dict(kept)
        preferences[name] = {escape(value): float(f"{score:.{DIGITS}g}") for value, score in kept}
    for name, amount in move.counters.items():
        value = features.get(escape(name), 0)
        features[escape(name)] = _count((value if _is_number(value) else 0) + amount)
    if "category_scores" in scores:
        liked = [(value, score) for value, score in scores["category_scores"].items() if score > 0.0]
        features["favorite_categories"] = [
            value for value, _ in sorted(liked, key=lambda one: (-one[1], one[0]))[:FAVORITES]
        ]
    active = features.get("last_active_at")
    shown = format_ms(move.at_ms)
    # Times in this form sort as texts.
    features["last_active_at"] = max(active, shown) if isinstance(active, str) else shown
    return {"preferences": preferences, "features": features, "preferences_at_ms": Int64(at_ms)}


def _part(document: Document, name: str) -> Document:
    """A new one when something else is there."""
    part = document.get(name)
    return dict(part) if isinstance(part, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: float) -> int | float:
    """Counts read as counts: 3, not 3.0."""
    return int(value) if float(value).is_integer() and abs(value) < 9e15 else value


def format_ms(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"


def escape(name: str) -> str:
    """A name as `runtime-host/store-mongodb/src/codec.rs` writes it."""
    escaped = name.replace(_ESCAPE, f"{_ESCAPE}05").replace(".", f"{_ESCAPE}2e").replace("\0", f"{_ESCAPE}00")
    return f"{_ESCAPE}24{escaped[1:]}" if escaped.startswith("$") else escaped


def unescape(name: str) -> str:
    if name.startswith(f"{_ESCAPE}_"):
        return name[2:]
    plain = {"2e": ".", "24": "$", "00": "\0", "05": _ESCAPE}
    first, *parts = name.split(_ESCAPE)
    return first + "".join(plain[part[:2]] + part[2:] if part[:2] in plain else _ESCAPE + part for part in parts)
