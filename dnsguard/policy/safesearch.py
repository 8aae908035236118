# -*- test-case-name: tests.policy.test_safesearch -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Search engines made to leave out what isn't for children.

Each engine has a name (one has an address) of its own that always answers with
its strict results; resolving the usual names to that one switches it on for
everybody in a house. This is the table of who has which, as the engines
document it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import ClassVar

import attrs

from dnsguard.policy.problems import Problems, nearest
from dnsguard.wire.names import fromText

__all__ = ["Engine", "Rewrite", "SafeSearch", "SafeSearchSpec"]


class Engine(enum.Enum):
    """
    The engines. The values are the switches' names.
    """

    GOOGLE = "google"
    BING = "bing"
    DUCKDUCKGO = "duckduckgo"
    YOUTUBE = "youtube"
    ECOSIA = "ecosia"
    PIXABAY = "pixabay"
    YANDEX = "yandex"
    BRAVE = "brave"


@attrs.frozen(slots=True)
class Rewrite:
    """
    Where one name is led to.

    @ivar engine: Whose name it is.
    @ivar target: The engine's strict name, in wire form; empty when it has
        only an address.
    @ivar addresses: Its strict IPv4 addresses, packed, where it has no name.
    """

    engine: Engine
    target: bytes = b""
    addresses: tuple[bytes, ...] = ()


@attrs.frozen
class SafeSearchSpec:
    """
    What safe search is to do, as it was written.

    @ivar enabled: Is there any?
    @ivar switches: For some engines, on or off; an engine that isn't mentioned
        is on, but for YouTube, which is more than a search.
    @ivar youtube: C{"strict"}, C{"moderate"} or C{"off"}; empty for the
        switch's word.
    @ivar place: Where it was written, for problems.
    """

    enabled: bool = False
    switches: tuple[tuple[str, bool], ...] = ()
    youtube: str = ""
    place: str = "safe_search"


_GOOGLE = """
    ad ae al am as at az ba be bf bg bi bj bs bt by ca cat cd cf cg ch ci cl cm cn co
    co.ao co.bw co.ck co.cr co.id co.il co.in co.jp co.ke co.kr co.ls co.ma co.mz co.nz
    co.th co.tz co.ug co.uk co.uz co.ve co.vi co.za co.zm co.zw com com.af com.ag com.ai
    com.ar com.au com.bd com.bh com.bn com.bo com.br com.bz com.co com.cu com.cy com.do
    com.ec com.eg com.et com.fj com.gh com.gi com.gt com.hk com.jm com.kh com.kw com.lb
    com.ly com.mm com.mt com.mx com.my com.na com.nf com.ng com.ni com.np com.om com.pa
    com.pe com.pg com.ph com.pk com.pr com.py com.qa com.sa com.sb com.sg com.sl com.sv
    com.tj com.tr com.tw com.ua com.uy com.vc com.vn cv cz de dj dk dm dz ee es fi fm fr
    ga ge gg gl gm gp gr gy hn hr ht hu ie im iq is it je jo kg ki kz la li lk lt lu lv
    md me mg mk ml mn ms mu mv mw ne nl no nr nu pl pn ps pt ro rs ru rw sc se sh si sk
    sm sn so sr st td tg tk tl tm tn to tt vg vu ws
"""
"""What follows ``google.`` in the names of its country sites."""

_YANDEX = """
    ya.ru xn--d1acpjx3f.xn--p1ai yandex.az yandex.by yandex.co.il yandex.com yandex.com.am
    yandex.com.ge yandex.com.ru yandex.com.tr yandex.de yandex.ee yandex.eu yandex.fi
    yandex.fr yandex.kz yandex.lt yandex.lv yandex.md yandex.net yandex.org yandex.pl
    yandex.ru yandex.tj yandex.tm yandex.uz
"""
"""Yandex's sites."""

_TARGETS = {
    Engine.GOOGLE: "forcesafesearch.google.com",
    Engine.BING: "strict.bing.com",
    Engine.DUCKDUCKGO: "safe.duckduckgo.com",
    Engine.ECOSIA: "strict-safe-search.ecosia.org",
    Engine.PIXABAY: "safesearch.pixabay.com",
    Engine.BRAVE: "forcesafe.search.brave.com",
}

_YOUTUBE = {
    "strict": "restrict.youtube.com",
    "moderate": "restrictmoderate.youtube.com",
}

_YANDEX_ADDRESS = bytes([213, 180, 193, 56])
"""Yandex answers strictly at this address; it has no AAAA record to give."""

_NAMES = {
    Engine.GOOGLE: [f"{w}google.{suffix}" for suffix in _GOOGLE.split() for w in ("", "www.")],
    Engine.BING: ["bing.com", "www.bing.com", "edgeservices.bing.com"],
    Engine.DUCKDUCKGO: ["duckduckgo.com", "www.duckduckgo.com", "start.duckduckgo.com"],
    Engine.YOUTUBE: [
        "www.youtube.com",
        "m.youtube.com",
        "youtubei.googleapis.com",
        "youtube.googleapis.com",
        "www.youtube-nocookie.com",
    ],
    Engine.ECOSIA: ["www.ecosia.org"],
    Engine.PIXABAY: ["pixabay.com"],
    Engine.YANDEX: [f"{w}{name}" for name in _YANDEX.split() for w in ("", "www.")],
    Engine.BRAVE: ["search.brave.com"],
}


class SafeSearch:
    """
    The names that are led elsewhere. Immutable.
    """

    NONE: ClassVar[SafeSearch]

    def __init__(self, rewrites: Mapping[bytes, Rewrite]) -> None:
        """
        Use L{of} or L{build}.
        """
        self._rewrites = rewrites

    @classmethod
    def of(cls, engines: Iterable[Engine], youtube: str = "strict") -> SafeSearch:
        """
        Make safe search for some engines.

        @param youtube: C{"strict"} or C{"moderate"}.
        """
        rewrites: dict[bytes, Rewrite] = {}
        for engine in engines:
            if engine is Engine.YANDEX:
                rewrite = Rewrite(engine, addresses=(_YANDEX_ADDRESS,))
            elif engine is Engine.YOUTUBE:
                rewrite = Rewrite(engine, fromText(_YOUTUBE[youtube]))
            else:
                rewrite = Rewrite(engine, fromText(_TARGETS[engine]))
            rewrites.update((fromText(name), rewrite) for name in _NAMES[engine])
        return cls(rewrites)

    @classmethod
    def build(cls, spec: SafeSearchSpec) -> SafeSearch:
        """
        Make safe search of what was written.

        @raise InvalidPolicy: All that is wrong with it.
        """
        problems = Problems()
        known = {engine.value: engine for engine in Engine}
        on = set(Engine) - {Engine.YOUTUBE}
        for word, switch in spec.switches:
            engine = known.get(word)
            if engine is None:
                problems.note(
                    f"{spec.place}.{word}", f"no such search engine{nearest(word, known)}"
                )
            elif switch:
                on.add(engine)
            else:
                on.discard(engine)
        if spec.youtube in _YOUTUBE:
            on.add(Engine.YOUTUBE)
        elif spec.youtube == "off":
            on.discard(Engine.YOUTUBE)
        elif spec.youtube:
            problems.note(
                f"{spec.place}.youtube", f"off, strict or moderate, not {spec.youtube!r}"
            )
        problems.check()
        if not spec.enabled:
            return cls.NONE
        return cls.of(on, spec.youtube if spec.youtube in _YOUTUBE else "strict")

    def find(self, qname: bytes) -> Rewrite | None:
        """
        Say where a name is led to; L{None} when it stays where it is.

        @param qname: The name, lower-cased, in wire form.
        """
        return self._rewrites.get(qname)

    def isSame(self, other: SafeSearch) -> bool:
        """
        Are the same names led to the same places?
        """
        return self._rewrites == other._rewrites

    def __len__(self) -> int:
        return len(self._rewrites)


SafeSearch.NONE = SafeSearch({})
