# -*- test-case-name: tests.policy.test_schedule -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Times of the week, by the wall clock.

A window says what a clock on the wall shows when it opens and when it closes,
so a change to or from summer time moves it along. Nobody asks "now?" while a
query is answered: whoever keeps the policy asks when the next change is, and
makes a new policy then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from dnsguard.policy.problems import Problems

__all__ = ["Schedule", "Window", "WindowSpec", "parseZone"]

_DAY = 86400
_MINUTES = 1440
_HORIZON = 15
"""
Days looked ahead for a change: two weeks, as a summer time change can swallow
one week's window whole.
"""

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z", re.ASCII)


@attrs.frozen
class WindowSpec:
    """
    One window, as it was written.

    @ivar start: When it opens, C{HH:MM}.
    @ivar end: When it closes, C{HH:MM} or C{24:00}; earlier than C{start}: on
        the day after.
    @ivar days: The days on which it opens, 0 is Sunday; none: every day.
    @ivar place: Where it was written, for problems.
    """

    start: str
    end: str
    days: tuple[int, ...] = ()
    place: str = "window"


@attrs.frozen
class Window:
    """
    A span of the day on some days of the week.

    @ivar start: When it opens, in minutes from midnight; inclusive.
    @ivar end: When it closes, exclusive, up to 1440; less than C{start}: on
        the day after.
    @ivar days: The days on which it opens, 0 is Sunday.
    """

    start: int
    end: int
    days: frozenset[int] = frozenset(range(7))

    def covers(self, day: int, minute: int) -> bool:
        """
        Is it open?

        @param day: The day of the week, 0 is Sunday.
        @param minute: Minutes from midnight.
        """
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return day in self.days
        return minute < self.end and (day - 1) % 7 in self.days


@attrs.frozen
class Schedule:
    """
    Windows in one time zone.

    @ivar windows: The windows; open is when any of them is.
    @ivar zone: The time zone, L{None} for the server's own.
    """

    windows: tuple[Window, ...] = ()
    zone: tzinfo | None = None
    _known: list[tuple[float, float, float | None]] = attrs.field(
        factory=list, init=False, eq=False, repr=False
    )
    """
    The last change found, and from when until when it is the next one: finding
    it takes a third of a millisecond, and there may be many groups.
    """

    @classmethod
    def build(cls, specs: Iterable[WindowSpec], zone: tzinfo | None = None) -> Schedule:
        """
        Make a schedule of what was written.

        @raise InvalidPolicy: All that is wrong with it.
        """
        problems = Problems()
        windows = [_window(spec, problems) for spec in specs]
        problems.check()
        return cls(tuple(window for window in windows if window is not None), zone)

    def active(self, now: float) -> bool:
        """
        Is a window open?

        @param now: Seconds since the epoch.
        """
        if not self.windows:
            return False
        local = datetime.fromtimestamp(now, self.zone)
        day, minute = local.isoweekday() % 7, local.hour * 60 + local.minute
        return any(window.covers(day, minute) for window in self.windows)

    def nextChange(self, now: float) -> float | None:
        """
        Say when a window opens or closes next, such that L{active} changes.

        @param now: Seconds since the epoch.
        @return: Seconds since the epoch, later than C{now}; L{None} when
            nothing changes within two weeks.
        """
        for since, until, change in self._known:
            if since <= now < until:
                return change
        change = self._findChange(now)
        self._known[:] = [(now, now + _DAY if change is None else change, change)]
        return change

    def _findChange(self, now: float) -> float | None:
        state = self.active(now)
        # Most windows change within a day; looking two weeks ahead takes four
        # times as long.
        for days, surely in ((2, now + _DAY / 2), (_HORIZON, math.inf)):
            for moment in sorted(self._edges(now, days)):
                if now < moment <= surely and self.active(moment) != state:
                    return moment
        return None

    def _edges(self, now: float, days: int) -> set[float]:
        """
        All moments of the days to come at which something may change.
        """
        edges: set[float] = set()
        minutes = {edge for window in self.windows for edge in (window.start, window.end)}
        today = datetime.fromtimestamp(now, self.zone).replace(
            hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0
        )
        for ahead in range(-1, days):
            midnight = today + timedelta(days=ahead)
            for minute in minutes:
                wall = midnight + timedelta(minutes=minute)
                # Both readings of a time that the clock shows twice.
                edges.update(self._moment(wall.replace(fold=fold)) for fold in (0, 1))
            shift = self._shift(now + ahead * _DAY, now + (ahead + 1) * _DAY)
            if shift is not None:
                edges.add(shift)
        return edges

    def _moment(self, wall: datetime) -> float:
        """
        When the clock on the wall shows this, in seconds since the epoch.
        """
        return wall.replace(tzinfo=self.zone).timestamp()

    def _offset(self, moment: float) -> float:
        """
        How far the clock on the wall is ahead of UTC, in seconds.
        """
        wall = datetime.fromtimestamp(moment, self.zone).replace(tzinfo=None)
        return (wall - datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)).total_seconds()

    def _shift(self, early: float, late: float) -> float | None:
        """
        Find the second at which the clock on the wall is put forward or back.
        """
        low, high = int(early), int(late)
        before = self._offset(low)
        if self._offset(high) == before:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == before:
                low = middle
            else:
                high = middle
        return float(high)


def parseZone(name: str, place: str, problems: Problems) -> tzinfo | None:
    """
    Find a time zone by its IANA name; empty is the server's own.

    @param problems: Told when there is no such zone.
    """
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problems.note(place, f"no such time zone: {name[:60]!r}")
        return None


def _window(spec: WindowSpec, problems: Problems) -> Window | None:
    """
    Read one window, or note what is wrong with it.
    """
    start = _minutes(spec.start)
    end = _MINUTES if spec.end == "24:00" else _minutes(spec.end)
    if start is None:
        problems.note(f"{spec.place}.start", f"no time of day, HH:MM: {spec.start[:20]!r}")
    if end is None:
        problems.note(f"{spec.place}.end", f"no time of day, HH:MM: {spec.end[:20]!r}")
    wrong = [day for day in spec.days if not 0 <= day <= 6]
    if wrong:
        problems.note(f"{spec.place}.days", f"days are 0 (Sunday) to 6 (Saturday), not {wrong[0]}")
    if start is None or end is None or wrong:
        return None
    if start == end:
        problems.note(spec.place, "opens and closes at once; all day is 00:00 to 24:00")
        return None
    return Window(start, end, frozenset(spec.days or range(7)))


def _minutes(text: str) -> int | None:
    """
    Read a time of day, exactly C{HH:MM}.
    """
    match = _CLOCK.match(text)
    return int(match[1]) * 60 + int(match[2]) if match else None
