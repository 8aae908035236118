# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.schedule}.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.problems import InvalidPolicy, Problems
from dnsguard.policy.schedule import Schedule, Window, WindowSpec, parseZone

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
SUNDAY = 0


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    """
    Seconds since the epoch, of a local time.
    """
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


windows = st.builds(
    Window,
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.frozensets(st.integers(0, 6), min_size=1),
).filter(lambda window: window.start != window.end)


class WindowTests(SynchronousTestCase):
    """
    Tests for L{Schedule.active}.
    """

    def test_startInEndOut(self) -> None:
        """
        A window is open from its first minute until just before its end.
        """
        schedule = Schedule((Window(540, 600),), BERLIN)
        for text, expected in [
            ("2026-03-04 08:59:59", False),
            ("2026-03-04 09:00:00", True),
            ("2026-03-04 09:59:59", True),
            ("2026-03-04 10:00:00", False),
        ]:
            self.assertEqual(schedule.active(at(text)), expected, text)

    def test_overnightBelongsToItsFirstDay(self) -> None:
        """
        A window over midnight opens on its day and closes on the day after.
        """
        schedule = Schedule((Window(1320, 360, frozenset([SUNDAY])),), BERLIN)
        for text, expected in [
            ("2026-03-01 05:00", False),  # Sunday morning: Saturday's isn't there
            ("2026-03-01 22:00", True),
            ("2026-03-02 05:59", True),
            ("2026-03-02 06:00", False),
            ("2026-03-02 22:00", False),
        ]:
            self.assertEqual(schedule.active(at(text)), expected, text)

    def test_severalWindows(self) -> None:
        """
        Open is when any window is, and windows that touch are one.
        """
        schedule = Schedule((Window(60, 120), Window(120, 180)), BERLIN)
        self.assertTrue(schedule.active(at("2026-03-04 02:00")))
        self.assertEqual(schedule.nextChange(at("2026-03-04 01:30")), at("2026-03-04 03:00"))


class NextChangeTests(SynchronousTestCase):
    """
    Tests for L{Schedule.nextChange}.
    """

    def test_never(self) -> None:
        """
        Without windows, or open all week, nothing ever changes.
        """
        self.assertIsNone(Schedule().nextChange(at("2026-03-04 00:00")))
        always = Schedule((Window(0, 1440),), BERLIN)
        self.assertIsNone(always.nextChange(at("2026-03-04 00:00")))
        self.assertTrue(always.active(at("2026-03-29 03:00")))

    def test_openingInTheHourThatIsLeftOut(self) -> None:
        """
        A window that opens at a time the clock skips opens as it skips.
        """
        schedule = Schedule((Window(150, 240),), BERLIN)
        change = schedule.nextChange(at("2026-03-29 01:00"))
        self.assertEqual(change, at("2026-03-29 03:00"))

    def test_weekWithoutItsWindow(self) -> None:
        """
        A weekly window swallowed by summer time comes again a week later.
        """
        schedule = Schedule((Window(130, 140, frozenset([SUNDAY])),), BERLIN)
        change = schedule.nextChange(at("2026-03-28 12:00"))
        self.assertEqual(change, at("2026-04-05 02:10"))

    @given(
        st.lists(windows, max_size=3),
        st.sampled_from(ZONES),
        st.sampled_from(["2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24"]),
        st.integers(0, 3 * 1440),
    )
    @settings(max_examples=100, deadline=None)
    def test_agreesWithTryingEachMinute(
        self, windows: list[Window], zone: str, day: str, minutes: int
    ) -> None:
        """
        The next change is what trying minute after minute finds.
        """
        schedule = Schedule(tuple(windows), ZoneInfo(zone))
        now = at(day, ZoneInfo("UTC")) + minutes * 60
        state = schedule.active(now)
        change = schedule.nextChange(now)
        for minute in range(1, 1440):
            moment = now + minute * 60
            if schedule.active(moment) != state:
                self.assertEqual(change, moment)
                return
        self.assertTrue(change is None or change >= now + 1440 * 60)

    @given(
        st.lists(windows, max_size=2),
        st.lists(st.integers(0, 20 * 1440), min_size=2, max_size=8),
    )
    @settings(max_examples=50, deadline=None)
    def test_rememberingChangesNothing(self, windows: list[Window], minutes: list[int]) -> None:
        """
        A schedule that was asked before, for whatever time, says what a new
        one says.
        """
        asked = Schedule(tuple(windows), BERLIN)
        for minute in minutes:
            now = at("2026-03-20") + minute * 60
            self.assertEqual(
                asked.nextChange(now), Schedule(tuple(windows), BERLIN).nextChange(now)
            )


class LocalZoneTests(SynchronousTestCase):
    """
    Without a zone, the server's own counts.
    """

    def test_serversOwnZone(self) -> None:
        """
        A schedule without a zone goes by the server's wall clock, over a
        change of summer time too.
        """
        before = os.environ.get("TZ")

        def restore() -> None:
            os.environ.pop("TZ", None)
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()

        self.addCleanup(restore)
        os.environ["TZ"] = "Europe/Berlin"
        time.tzset()
        schedule = Schedule((Window(150, 240),))
        self.assertEqual(schedule.nextChange(at("2026-03-29 01:00")), at("2026-03-29 03:00"))
        self.assertTrue(schedule.active(at("2026-07-01 03:59")))


class SpecTests(SynchronousTestCase):
    """
    Tests for L{Schedule.build} and L{parseZone}.
    """

    def test_reads(self) -> None:
        """
        Days left out are all days; 24:00 is the day's end.
        """
        schedule = Schedule.build(
            [WindowSpec("22:30", "06:00"), WindowSpec("00:00", "24:00", (6,))]
        )
        self.assertEqual(schedule.windows, (Window(1350, 360), Window(0, 1440, frozenset([6]))))

    def test_allProblemsAtOnce(self) -> None:
        """
        Bad times, days and empty windows are told of with their places.
        """
        invalid = self.assertRaises(
            InvalidPolicy,
            Schedule.build,
            [
                WindowSpec("9:00", "10:00", place="w[0]"),
                WindowSpec("09:00", "25:00", place="w[1]"),
                WindowSpec("09:00", "09:00", place="w[2]"),
                WindowSpec("09:00", "10:00", (7,), place="w[3]"),
                WindowSpec("24:00", "10:00", place="w[4]"),
            ],
        )
        self.assertEqual(
            [problem.place for problem in invalid.problems],
            ["w[0].start", "w[1].end", "w[2]", "w[3].days", "w[4].start"],
        )

    def test_zones(self) -> None:
        """
        A zone is known by its IANA name; another one is a problem.
        """
        problems = Problems()
        self.assertEqual(parseZone("Europe/Berlin", "z", problems), BERLIN)
        self.assertIsNone(parseZone("", "z", problems))
        self.assertEqual(len(problems), 0)
        for wrong in ("Nowhere/Land", "../etc/passwd", "Europe"):
            parseZone(wrong, "zone", problems)
        self.assertEqual([problem.place for problem in problems], ["zone"] * 3)
