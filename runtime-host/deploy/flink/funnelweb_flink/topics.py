"""The topics, and what they are called: as `runtime-host/log-kafka/src/topics.rs` does."""

BEHAVIORS = "user-behaviors-"
DEAD = "dead-"
# What windows say.
OUTPUTS = ("user-profile-updates", "item-stats-updates", "recommendation-metrics")
# Records that could not be aggregated, of all tenants.
DEAD_LETTERS = "stream-dead-letters"

_ESCAPES = {".": "--d", ":": "--c"}


def pattern(prefix: str) -> str:
    """A regular expression of Java for the behaviours of all tenants."""
    # Of what a prefix may hold, only a point means something else there.
    return f"{prefix.replace('.', chr(92) + '.')}{BEHAVIORS}(?!{DEAD})[A-Za-z0-9_-]+"


def behaviors(prefix: str, tenant: str) -> str:
    """The topic of a tenant's behaviours."""
    # What would read as the dead letters of another tenant begins with nothing, marked.
    name = "--e" if tenant.startswith(DEAD) else ""
    for at, character in enumerate(tenant):
        follows = tenant[at + 1 : at + 2]
        if character == "-" and follows and follows in "-.:":
            name += "--h"
        else:
            name += _ESCAPES.get(character, character)
    return f"{prefix}{BEHAVIORS}{name}"


def tenant(prefix: str, topic: str) -> str | None:
    """Whose behaviours a topic holds."""
    begin = prefix + BEHAVIORS
    if not topic.startswith(begin) or topic.startswith(begin + DEAD):
        return None
    first, *escaped = topic[len(begin) :].split("--")
    read = first
    for part in escaped:
        plain = {"d": ".", "c": ":", "h": "-", "e": ""}.get(part[:1])
        if plain is None:
            return None
        read += plain + part[1:]
    # Only what we would have written ourselves.
    return read if read and behaviors(prefix, read) == topic else None
