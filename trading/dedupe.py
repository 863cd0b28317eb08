"""Ids seen before (R1.5): kept as 8-byte hashes in hourly buckets until they lapse, so that the row stays small."""

import datetime as dt

from trading import ids
from trading.portfolio import SeenIds

WIDTH = 10
MOST_IDS = 20_000  # beyond these, new recommendations are not ready
MOST_KEPT = 21_000  # beyond these, no id is added: a repeat is decided again, under the same decision id
LONGEST = dt.timedelta(days=7)


def is_known(buckets: tuple[SeenIds, ...], *, key: str) -> bool:
    """Tell whether an id is kept."""
    digest = ids.short_hash(key)
    return any(_holds(bucket.ids, digest) for bucket in buckets)


def remember(
    buckets: tuple[SeenIds, ...], *, key: str, until: dt.datetime, now: dt.datetime, newest: dt.datetime
) -> tuple[SeenIds, ...]:
    """Keep an id until an instant, at most 7 days from now; `newest` is when its message was generated."""
    last = min(until, now + LONGEST)
    hour = last.replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=1)
    digest = ids.short_hash(key)
    for place, bucket in enumerate(buckets):
        if bucket.until == hour:
            grown = SeenIds(until=hour, newest=max(bucket.newest, newest), ids=bucket.ids + digest)
            return (*buckets[:place], grown, *buckets[place + 1 :])
    return (*buckets, SeenIds(until=hour, newest=newest, ids=digest))


def lapse(
    buckets: tuple[SeenIds, ...], *, now: dt.datetime, floor: dt.datetime | None
) -> tuple[tuple[SeenIds, ...], dt.datetime | None]:
    """Drop what has lapsed; return what is kept and the newest generation instant of all that was ever dropped."""
    lapsed = [bucket.newest for bucket in buckets if bucket.until <= now]
    if not lapsed:
        return buckets, floor
    newest = max(lapsed) if floor is None else max(*lapsed, floor)
    return tuple(bucket for bucket in buckets if bucket.until > now), newest


def newest(buckets: tuple[SeenIds, ...], *, most: int) -> tuple[SeenIds, ...]:
    """Return the buckets without the ids that lapse first, so that at most `most` are kept."""
    surplus = count(buckets) - most
    if surplus <= 0:
        return buckets
    kept: list[SeenIds] = []
    for bucket in sorted(buckets, key=lambda bucket: bucket.until):
        dropped = min(max(0, surplus), len(bucket.ids) // WIDTH)
        surplus -= dropped
        if dropped * WIDTH < len(bucket.ids):
            kept.append(bucket.model_copy(update={"ids": bucket.ids[dropped * WIDTH :]}))
    return tuple(kept)


def count(buckets: tuple[SeenIds, ...]) -> int:
    """Return how many ids are kept."""
    return sum(len(bucket.ids) for bucket in buckets) // WIDTH


def _holds(text: str, digest: str) -> bool:
    place = text.find(digest)
    while place >= 0:
        if place % WIDTH == 0:
            return True
        place = text.find(digest, place + 1)
    return False
