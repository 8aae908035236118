# -*- test-case-name: tests.config.sections.test_filtering -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{blocklists}, C{safe_search}: what is filtered, and when.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import attrs

from dnsguard.config.convert import Section
from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import Choice, Flag, Many, ScalarKind, Text
from dnsguard.config.names import Domain, Rule
from dnsguard.config.quantities import Duration, Integer, Size

__all__ = [
    "ENGINES",
    "BlocklistsConfig",
    "FamilyTimeConfig",
    "HealthCheckConfig",
    "SafeSearchConfig",
    "ScheduledPauseConfig",
    "SourceConfig",
    "TimeOfDay",
    "YouTubeMode",
    "sourceFaults",
]


@attrs.frozen
class TimeOfDay(ScalarKind):
    """
    A kind: a time of day, as the text C{HH:MM}.

    @ivar most: The last minute that is accepted.
    """

    most: int = 24 * 60 - 1

    @property
    def expected(self) -> str:
        """
        What is expected, in words.
        """
        last = f"{self.most // 60:02}:{self.most % 60:02}"
        return f"a time of day from 00:00 to {last}, as HH:MM"

    def read(self, text: str) -> str:
        """
        Read a time of day.
        """
        match = re.fullmatch(r"([0-9]{2}):([0-9]{2})", text.strip(), re.ASCII)
        if match is None or int(match[2]) > 59:
            raise ValueError
        minutes = int(match[1]) * 60 + int(match[2])
        if minutes > self.most:
            raise ValueError
        return match[0]


_SOURCE_URL = r"(?:https?://[^\s/]+.*|file:///.*|/.*|\./.*|\.\./.*|[^\s:]+)"


def _publicName(url: str) -> str:
    """
    What a list that has no name is called.
    """
    name = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = name.rpartition("://")
    if separator:
        host, slash, path = rest.partition("/")
        name = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    return name[:64]


@attrs.frozen
class SourceConfig:
    """
    A block list. Its URL alone is short for ``{url: URL}``.
    """

    url: str = key(
        Text(
            "an https://, http:// or file:// URL, or a path",
            pattern=_SOURCE_URL,
            references=True,
        ),
        meaning="Where it is read from: ``https://``, ``http://``, ``file://`` or a path.",
    )
    name: str = key(
        Text("a name", most=64),
        attrs.Factory(lambda self: _publicName(self.url), takes_self=True),
        unset="its URL, without what may be secret: user, password and query",
        meaning="What it is called in logs, rows and reports.",
    )

    def faults(self) -> Iterator[Fault]:
        """
        A URL has a host, and a port only if that is one.
        """
        if self.url.startswith(("http://", "https://")):
            try:
                parts = urlsplit(self.url)
                usable = bool(parts.hostname) and parts.port != 0
            except ValueError:
                usable = False
            if not usable:
                yield Fault(("url",), "its host or port can't be read")


def _windowFaults(start: str, end: str) -> Iterator[Fault]:
    if start == end:
        yield Fault(("end",), "the window has no length: it ends when it starts")


@attrs.frozen
class ScheduledPauseConfig:
    """
    Times of the week at which the lists are at rest.
    """

    start: str = key(
        TimeOfDay(),
        meaning="When it begins, this minute included, by the clock of ``timezone``.",
    )
    end: str = key(
        TimeOfDay(24 * 60),
        meaning="When it ends, this minute excluded; earlier than ``start`` is on the next day.",
    )
    days: tuple[int, ...] = key(
        Many(Integer(0, 6)),
        (),
        unset="every day",
        meaning="The days on which it begins: 0 is Sunday, 6 is Saturday.",
    )
    enabled: bool = key(Flag(), True, meaning="Is it in force?")

    def faults(self) -> Iterator[Fault]:
        """
        The window has a length.
        """
        yield from _windowFaults(self.start, self.end)


@attrs.frozen
class FamilyTimeConfig:
    """
    Times of the week at which services are blocked, whatever else is allowed.
    """

    start: str = key(
        TimeOfDay(),
        meaning="When it begins, this minute included, by the clock of ``timezone``.",
    )
    end: str = key(
        TimeOfDay(24 * 60),
        meaning="When it ends, this minute excluded; earlier than ``start`` is on the next day.",
    )
    days: tuple[int, ...] = key(
        Many(Integer(0, 6)),
        (),
        unset="every day",
        meaning="The days on which it begins: 0 is Sunday, 6 is Saturday.",
    )
    services: tuple[str, ...] = key(
        Many(Text("the id of a service", fold=True, most=64)),
        (),
        meaning="Services to block, by id.",
    )
    domains: tuple[str, ...] = key(
        Many(Domain()), (), meaning="Domains to block, each with all names below it."
    )
    enabled: bool = key(Flag(), True, meaning="Is it in force?")

    def faults(self) -> Iterator[Fault]:
        """
        The window has a length, and something is blocked in it.
        """
        yield from _windowFaults(self.start, self.end)
        if self.enabled and not (self.services or self.domains):
            yield Fault(("services",), "neither services nor domains are named", also=("domains",))


@attrs.frozen
class HealthCheckConfig:
    """
    What a source that can't be read means for the others.
    """

    enabled: bool = key(Flag(), True, meaning="Are sources looked at before they are used?")
    failOnAny: bool = key(
        Flag(),
        True,
        meaning="Keep all lists as they are when one source fails, instead of only that one.",
    )


def sourceFaults(sources: tuple[SourceConfig, ...]) -> Iterator[Fault]:
    """
    Find sources that go by the name or URL of one before them.
    """
    for attribute in ("name", "url"):
        seen: set[str] = set()
        for index, source in enumerate(sources):
            value = getattr(source, attribute)
            if value in seen:
                yield Fault(("sources", index), f"another source has the same {attribute} already")
            seen.add(value)


@attrs.frozen
class BlocklistsConfig:
    """
    The block lists that hold for everybody, unless a group says otherwise.
    """

    refreshInterval: float = key(
        Duration(least=60),
        6 * 3600.0,
        meaning="How often sources are looked at again.",
    )
    sources: tuple[SourceConfig, ...] = key(
        Many(Section(SourceConfig, shorthand="url")), (), meaning="The lists."
    )
    allowlist: tuple[str, ...] = key(
        Many(Rule()),
        (),
        meaning="""Never blocked: domains, each with all names below it, or
            ``/regular expressions/`` searched for in the lower-case name.""",
    )
    denylist: tuple[str, ...] = key(
        Many(Rule()), (), meaning="Always blocked, unless allowed; written like ``allowlist``."
    )
    scheduledPause: ScheduledPauseConfig | None = key(
        Section(ScheduledPauseConfig),
        None,
        unset="none",
        meaning="Times of the week at which nothing from the lists is blocked.",
    )
    familyTime: FamilyTimeConfig | None = key(
        Section(FamilyTimeConfig),
        None,
        unset="none",
        meaning="Times of the week at which services are blocked, even while lists are paused.",
    )
    healthCheck: HealthCheckConfig | None = key(
        Section(HealthCheckConfig),
        None,
        unset="a failed source keeps its old entries, the others go on",
        meaning="What a source that can't be read means for the others.",
    )
    maxSize: int = key(
        Size(least=1024),
        256 << 20,
        meaning="The largest list that is read, once unpacked; a larger one fails as a whole.",
    )
    requestTimeout: float = key(
        Duration(least=0.1, most=3600),
        60.0,
        meaning="How long fetching one list may take.",
    )

    def faults(self) -> Iterator[Fault]:
        """
        Sources are told apart.
        """
        yield from sourceFaults(self.sources)


class YouTubeMode(enum.Enum):
    """
    How much YouTube holds back.
    """

    OFF = "off"
    MODERATE = "moderate"
    STRICT = "strict"

    @staticmethod
    def synonyms() -> dict[str, str]:
        """
        What YAML's words for yes and no stand for.
        """
        yes = dict.fromkeys(("true", "yes", "on"), "strict")
        return {**yes, **dict.fromkeys(("false", "no"), "off")}


ENGINES = ("google", "bing", "duckduckgo", "ecosia", "pixabay", "yandex", "brave")
"""The keys that are search engines."""


def _engine(name: str) -> bool:
    return key(Flag(), True, meaning=f"Force safe search on {name}.")  # type: ignore[no-any-return]


@attrs.frozen
class SafeSearchConfig:
    """
    Search engines made to hide what isn't for children.
    """

    enabled: bool = key(Flag(), False, meaning="Is safe search forced at all?")
    google: bool = _engine("Google, with all its country domains")
    bing: bool = _engine("Bing")
    duckduckgo: bool = _engine("DuckDuckGo")
    ecosia: bool = _engine("Ecosia")
    pixabay: bool = _engine("Pixabay")
    yandex: bool = _engine("Yandex")
    brave: bool = _engine("Brave Search")
    youtube: YouTubeMode = key(
        Choice(YouTubeMode, YouTubeMode.synonyms()),
        YouTubeMode.OFF,
        meaning="Restricted mode of YouTube; ``true`` is ``strict``.",
    )

    @property
    def switches(self) -> tuple[tuple[str, bool], ...]:
        """
        Each search engine's name, and whether it is made to be safe.
        """
        return tuple((name, getattr(self, name)) for name in ENGINES)
