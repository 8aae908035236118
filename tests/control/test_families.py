# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for the resource families, as a whole server has them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.entry import Entry
from dnsguard.caching.key import DNSSEC_OK, Key
from dnsguard.control import caching
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.snapshot import Policy
from dnsguard.query import ClientQuery
from dnsguard.wire.names import fromText
from tests.support.answerstore import FakeAnswerStore, SharedAnswers
from tests.support.control import Server

CONFIG = """\
client_identification:
  enabled: true
  clients: [{ip: 192.0.2.9, name: tv, group_id: kids}]
client_groups:
  - id: kids
    blocklist: {denylist: [games.example], allowlist: [ok.bad.example]}
  - id: free
    blocklist: {inherit_global: false}
local_records: [{name: nas.home.arpa, type: A, value: 192.0.2.10}]
safe_search: {enabled: true}
"""


class FamilyCase(SynchronousTestCase):
    """
    Base of tests with a whole server.
    """

    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.server = Server(folder, CONFIG)
        text = self.server.path.read_text()
        deny = (
            "{sources: [], denylist: [bad.example, '/^ads[0-9]+[.]/'], allowlist: [fine.example]}"
        )
        self.server.path.write_text(text.replace("{sources: []}", deny))
        self.server.start()
        self.ask = self.server.ask
        self.assertEqual(self.ask("POST", "/api/v1/reload").status, 200)


class ExplainTests(FamilyCase):
    """
    Tests for C{/explain}.
    """

    def explain(self, query: str) -> Any:
        """
        Ask why.
        """
        return self.ask("GET", f"/api/v1/explain?domain={query}").json

    def test_outcomes(self) -> None:
        """
        It says what happens to a name, as the chain would have it.
        """
        for query, outcome in [
            ("www.bad.example", "blocked"),
            ("ads7.tracker.example", "blocked"),
            ("fine.example", "allowed"),
            ("example.org", "forwarded"),
            ("nas.home.arpa", "local"),
            ("localhost", "special"),
            ("www.google.com", "safe_search"),
            ("b%C3%BCcher.example", "forwarded"),
        ]:
            told = self.explain(query)
            self.assertEqual((told["outcome"], told["blocked"]), (outcome, outcome == "blocked"))

    def test_whoMatters(self) -> None:
        """
        It tells for a client, for a group, or for those in none.
        """
        for query, outcome in [
            ("games.example&client=192.0.2.9", "blocked"),
            ("games.example&client=192.0.2.10", "forwarded"),
            ("games.example&group=kids", "blocked"),
            ("bad.example&group=free", "forwarded"),
            ("ok.bad.example&group=kids", "allowed"),
        ]:
            self.assertEqual(self.explain(query)["outcome"], outcome, query)
        told = self.explain("games.example&client=192.0.2.9")
        self.assertEqual((told["client_name"], told["group"]), ("tv", "kids"))

    def test_everythingThatMatches(self) -> None:
        """
        All rules that speak of a name are told, the one that decides first.
        """
        told = self.explain("ok.bad.example&group=kids")
        self.assertEqual(told["decided_by"]["source"], "client_groups[0].blocklist.allowlist[0]")
        self.assertEqual([match["kind"] for match in told["matches"]], ["allowlist", "denylist"])
        self.assertEqual(told["matches"][1]["name"], "bad.example")

    def test_lineOfTheList(self) -> None:
        """
        Of a list the line is given as it was written.
        """
        guard: Any = self.server.guard
        domains = DomainSet.build([("ads", [(fromText("ads.example"), 12)])])
        guard.policies.publish(Policy.of(domains))
        asked: list[tuple[str, int]] = []

        def ruleText(name: str, line: int) -> Any:
            asked.append((name, line))
            done: Deferred[str] = Deferred()
            done.callback("||ads.example^ ! bad")
            return done

        guard.blocklists.ruleText = ruleText
        told = self.explain("www.ads.example")
        self.assertEqual(asked[0], ("ads", 12))
        self.assertEqual(
            (told["decided_by"]["source"], told["decided_by"]["text"]),
            ("ads", "||ads.example^ ! bad"),
        )

    def test_wrong(self) -> None:
        """
        Names, types, addresses and groups that are none are refused.
        """
        for query in (
            "a..b",
            "x" * 64 + ".example",
            "example.org&type=NONSENSE",
            "example.org&type=0",
            "example.org&client=nobody",
            "example.org&group=nobody",
            "example.org&client=192.0.2.1&group=kids",
        ):
            response = self.ask("GET", f"/api/v1/explain?domain={query}")
            self.assertEqual(response.status, 400, query)
            self.assertIn("error", response.json)


class PauseTests(FamilyCase):
    """
    Tests for pauses.
    """

    def blocked(self, name: str, group: str = "") -> bool:
        """
        Is a name blocked?
        """
        view = self.server.guard.policies.current.viewOf(group)
        decision = view.rules.decide(fromText(name), dns.A)
        return decision is not None and decision.blocked

    def test_everybody(self) -> None:
        """
        A pause is for all under global rules, and ends when it is ended.
        """
        self.ask("POST", "/blocklists/pause", {"duration_minutes": 5})
        self.assertFalse(self.blocked("bad.example"))
        told = self.ask("GET", "/blocklists/pause/status").json
        self.assertEqual((told["paused"], told["by"]), (True, "hand"))
        self.assertEqual(told["until"], "2026-01-05T12:05:00Z")
        self.ask("POST", "/blocklists/resume")
        self.assertTrue(self.blocked("bad.example"))

    def test_oneGroup(self) -> None:
        """
        A group's pause is for that group alone, and shows among the pauses.
        """
        self.ask("POST", "/blocklists/pause", {"duration_minutes": 5, "group": "kids"})
        self.assertFalse(self.blocked("games.example", "kids"))
        self.assertTrue(self.blocked("bad.example"))
        pauses = self.ask("GET", "/api/v1/pauses").json["pauses"]
        self.assertEqual([pause["group"] for pause in pauses], ["kids"])
        self.assertFalse(self.ask("GET", "/blocklists/pause/status").json["paused"])
        status = self.ask("GET", "/blocklists/pause/status?group=kids").json
        self.assertTrue(status["paused"])
        self.ask("POST", "/blocklists/resume", {"group": "kids"})
        self.assertTrue(self.blocked("games.example", "kids"))

    def test_unknownGroup(self) -> None:
        """
        A group that isn't there is refused.
        """
        body = {"duration_minutes": 5, "group": "nobody"}
        self.assertEqual(self.ask("POST", "/blocklists/pause", body).status, 400)
        path = "/blocklists/pause/status?group=nobody"
        self.assertEqual(self.ask("GET", path).status, 400)

    def test_survivesReload(self) -> None:
        """
        A pause goes on when the configuration is reloaded.
        """
        self.ask("POST", "/blocklists/pause", {"duration_minutes": 5})
        self.server.reactor.advance(60)
        self.ask("POST", "/api/v1/reload")
        self.assertTrue(self.ask("GET", "/blocklists/pause/status").json["paused"])

    def test_scheduled(self) -> None:
        """
        A scheduled pause is told as one; nobody says when it ends.
        """
        everyDay = {"days": [*range(7)], "start": "11:00", "end": "13:00", "enabled": True}
        patch = {"blocklists": {"scheduled_pause": everyDay}, "timezone": "UTC"}
        self.ask("PATCH", "/api/v1/config", patch)
        told = self.ask("GET", "/blocklists/pause/status").json
        self.assertEqual(
            (told["paused"], told["by"], told["until"]),
            (True, "schedule", "0001-01-01T00:00:00Z"),
        )


class CacheTests(FamilyCase):
    """
    Tests for caches.
    """

    def keep(self, name: str) -> None:
        """
        Put an answer into L0.
        """
        memory = self.server.guard.caches.memory
        assert memory is not None
        record = dns.RRHeader(name.encode(), dns.A, dns.IN, 300, dns.Record_A("192.0.2.1", 300))
        answer = Answer.fromRecords(
            [record], outcome=Outcome.UPSTREAM, upstream="u", cacheSeconds=300
        )
        memory.keep(ClientQuery(fromText(name)), answer)

    def entries(self, query: str) -> list[str]:
        """
        The names of entries found.
        """
        answer = self.ask("GET", f"/api/v1/cache/entries?name={query}").json
        return sorted(entry["name"] for entry in answer["entries"])

    def test_lookUp(self) -> None:
        """
        What is held of a name is shown; and of names below it.
        """
        for name in ("example.org", "www.example.org", "other.example"):
            self.keep(name)
        self.assertEqual(self.entries("EXAMPLE.org."), ["example.org"])
        self.assertEqual(
            self.entries("example.org&below=true"), ["example.org", "www.example.org"]
        )
        (entry,) = self.ask("GET", "/api/v1/cache/entries?name=example.org").json["entries"]
        self.assertEqual(
            (entry["type"], entry["rcode"], entry["upstream"], entry["ttl"]),
            ("A", "NOERROR", "u", 300.0),
        )
        self.assertEqual(self.ask("GET", "/cache/stats").json["lru"]["entries"], 3)

    def test_lookUpMany(self) -> None:
        """
        No more are looked at than are shown, but for one, which tells that there
        are more.
        """
        self.patch(caching, "MOST_SHOWN", 3)
        looked: list[bytes] = []
        shown = caching._shown

        def show(tier: str, key: Key, entry: Entry, now: float) -> dict[str, Any]:
            looked.append(key[0])
            return shown(tier, key, entry, now)

        self.patch(caching, "_shown", show)
        for number in range(6):
            self.keep(f"n{number}.example.org")
            if number in (2, 3, 5):
                told = self.ask("GET", "/api/v1/cache/entries?name=example.org&below=true").json
                self.assertEqual((len(told["entries"]), told["truncated"]), (3, number > 2))
        self.assertEqual(len(looked), 3 + 4 + 4)

    def test_lookUpShared(self) -> None:
        """
        What is shared is shown as well, of all types and variants; that it isn't
        searched for names below one, or can't be asked, is told.
        """
        store = FakeAnswerStore(SharedAnswers(self.server.reactor))
        guard: Any = self.server.guard
        self.keep("example.org")
        ask = "/api/v1/cache/entries?name=example.org"
        self.assertEqual(self.ask("GET", ask).json["l1"], "none")
        self.patch(guard, "redis", SimpleNamespace(store=store))
        key = (fromText("example.org"), dns.A, dns.IN, 0)
        entry = guard.caches.memory.entry(key)
        store.put(key, entry)
        store.put((*key[:1], dns.AAAA, dns.IN, DNSSEC_OK), entry)
        store.put((fromText("www.example.org"), dns.A, dns.IN, 0), entry)
        told = self.ask("GET", ask).json
        self.assertEqual((told["l1"], told["truncated"]), ("searched", False))
        self.assertEqual(
            [(each["tier"], each["type"], each["dnssec_ok"]) for each in told["entries"]],
            [("l0", "A", False), ("l1", "A", False), ("l1", "AAAA", True)],
        )
        told = self.ask("GET", f"{ask}&below=true").json
        self.assertEqual((told["l1"], len(told["entries"])), ("not_below", 1))
        store.broken = True
        told = self.ask("GET", ask).json
        self.assertEqual((told["l1"], len(told["entries"])), ("away", 1))

    def test_forget(self) -> None:
        """
        One name is cleared, or all below it, or everything; also where finished
        replies are kept.
        """
        forgotten: list[Any] = []
        clearing: Any = self.server.guard.caches.clearing
        clearing._replay = ReplayProxy(clearing._replay, forgotten)
        for name in ("example.org", "www.example.org", "other.example"):
            self.keep(name)
        answer = self.ask("DELETE", "/api/v1/cache/entries?name=example.org").json
        self.assertEqual(answer, {"ok": True, "cleared": 1})
        self.keep("example.org")
        answer = self.ask("DELETE", "/api/v1/cache/entries?name=example.org&below=true").json
        self.assertEqual(answer["cleared"], 2)
        self.assertEqual(self.ask("POST", "/cache/clear").json["cleared"], 1)
        self.assertEqual(forgotten, [fromText("example.org"), None, None])

    def test_noSharedCache(self) -> None:
        """
        Without a shared cache its bound can't be set, which is said.
        """
        for method in ("PUT", "PATCH"):
            response = self.ask(method, "/cache/config", {"max_keys": 5})
            self.assertEqual(response.status, 409)
        self.assertNotIn("redis_keys", self.ask("GET", "/cache/stats").json)

    def test_refreshStats(self) -> None:
        """
        What was refreshed is counted, with the rules it goes by.
        """
        told = self.ask("GET", "/cache/refresh/stats").json
        self.assertEqual((told["sweeps_24h"], told["refreshed_24h"]), (0, 0))
        self.assertEqual(told["refresh_config"]["cache_min_ttl"], "5m0s")

    def test_withoutL0(self) -> None:
        """
        Where L0 is switched off there is nothing to look up in.
        """
        self.ask("PATCH", "/api/v1/config", {"cache": {"lru_size": 0}})
        self.assertNotIn("lru", self.ask("GET", "/cache/stats").json)
        self.assertEqual(self.entries("example.org"), [])
        self.assertEqual(self.ask("POST", "/cache/clear").json["cleared"], 0)


class ReplayProxy:
    """
    A replay store that tells what is forgotten.
    """

    def __init__(self, store: Any, forgotten: list[Any]) -> None:
        self.store = store
        self.forgotten = forgotten

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def forget(self, qname: bytes | None) -> None:
        """
        Note it.
        """
        self.forgotten.append(qname)
        self.store.forget(qname)


class AccessTests(FamilyCase):
    """
    Tests for tokens, passwords and the audit log.
    """

    def test_tokens(self) -> None:
        """
        A token that was made is worth its role, until it is revoked.
        """
        made = self.ask("POST", "/api/v1/tokens", {"name": "tv", "role": "viewer"}).json
        self.assertEqual((made["name"], made["role"], made["expires"]), ("tv", "viewer", None))
        token = made["token"]
        me = self.ask("GET", "/api/v1/whoami", token=token).json
        self.assertEqual((me["name"], me["role"]), ("tv", "viewer"))
        self.assertEqual(self.ask("POST", "/cache/clear", token=token).status, 403)
        listed = self.ask("GET", "/api/v1/tokens").json["tokens"]
        self.assertEqual([each["name"] for each in listed], ["control.token", "tv"])
        self.assertEqual(self.ask("DELETE", "/api/v1/tokens/tv").json, {"ok": True})
        self.assertEqual(self.ask("GET", "/api/v1/whoami", token=token).status, 401)
        self.assertEqual(self.ask("DELETE", "/api/v1/tokens/tv").status, 404)
        self.assertEqual(self.ask("DELETE", "/api/v1/tokens/control.token").status, 409)

    def test_noTwoOfAName(self) -> None:
        """
        A name is there once, and plain.
        """
        body = {"name": "tv", "role": "viewer"}
        self.assertEqual(self.ask("POST", "/api/v1/tokens", body).status, 200)
        self.assertEqual(self.ask("POST", "/api/v1/tokens", body).status, 409)
        for name in ("control.token", "a b", ""):
            response = self.ask("POST", "/api/v1/tokens", {"name": name, "role": "viewer"})
            self.assertIn(response.status, (400, 409))

    def test_password(self) -> None:
        """
        Who knows the password gets a token for a day; setting another one ends
        all of those.
        """
        body = {"password": "correct horse"}
        self.assertEqual(self.ask("POST", "/api/v1/login", body, token="").status, 401)
        self.assertEqual(self.ask("PUT", "/api/v1/password", {"password": "x"}).status, 400)
        self.assertEqual(self.ask("PUT", "/api/v1/password", body).status, 200)
        session = self.ask("POST", "/api/v1/login", body, token="").json
        me = self.ask("GET", "/api/v1/whoami", token=session["token"]).json
        self.assertEqual(me["role"], "admin")
        self.ask("PUT", "/api/v1/password", {"password": "another one"})
        response = self.ask("GET", "/api/v1/whoami", token=session["token"])
        self.assertEqual(response.status, 401)
        self.assertEqual(self.ask("POST", "/api/v1/login", body, token="").status, 401)

    def test_passwordGuessers(self) -> None:
        """
        Wrong passwords are counted like wrong tokens.
        """
        wrong = {"password": "wrong"}
        statuses = [
            self.ask("POST", "/api/v1/login", wrong, token="", address="192.0.2.66").status
            for _ in range(11)
        ]
        self.assertEqual(statuses, [401] * 10 + [429])

    def test_audit(self) -> None:
        """
        Who changed what can be asked, the newest first, page by page.
        """
        self.ask("POST", "/api/v1/tokens", {"name": "tv", "role": "viewer"})
        self.ask("DELETE", "/api/v1/tokens/tv")
        answer = self.ask("GET", "/api/v1/audit?page_size=1&page=2").json
        self.assertEqual(answer["total"], 3)
        (entry,) = answer["entries"]
        self.assertEqual(
            (entry["by"], entry["method"], entry["path"], entry["status"]),
            ("control.token", "POST", "/api/v1/tokens", 200),
        )


class UpstreamTests(FamilyCase):
    """
    Tests for upstreams.
    """

    def test_list(self) -> None:
        """
        Upstreams are listed as configured, with how they do.
        """
        answer = self.ask("GET", "/upstreams").json
        self.assertEqual(
            answer["upstreams"][0],
            {"name": "cloudflare", "address": "1.1.1.1:53", "protocol": ""},
        )
        self.assertEqual(answer["state"][0]["address"], "udp://1.1.1.1:53")
        self.assertTrue(answer["state"][0]["usable"])

    def test_whatCanBeTried(self) -> None:
        """
        Operators try what is configured, administrators anything; what isn't an
        upstream is refused.
        """
        path = "/api/v1/upstreams/test"
        made = self.ask("POST", "/api/v1/tokens", {"name": "o", "role": "operator"}).json

        def status(body: Any, token: str = self.server.token) -> int:
            self.server.reactor.advance(2.0)
            return self.ask("POST", path, body, token=token).status

        self.assertEqual(status({"address": "192.0.2.1:53"}, made["token"]), 403)
        self.assertEqual(status({"name": "nobody"}, made["token"]), 404)
        self.assertEqual(status({}), 400)
        self.assertEqual(status({"name": "cloudflare", "address": "192.0.2.1"}), 400)
        self.assertEqual(status({"address": "https://192.0.2.1/x"}), 400)
        self.assertEqual(status({"name": "cloudflare", "domain": "a..b"}), 400)
        self.assertEqual(status({"name": "cloudflare", "type": "x"}), 400)


class SystemTests(FamilyCase):
    """
    Tests for health and readiness.
    """

    def test_health(self) -> None:
        """
        Liveness needs no token and says nothing else.
        """
        response = self.ask("GET", "/health", token="")
        self.assertEqual((response.status, response.json), (200, {"ok": True}))

    def test_ready(self) -> None:
        """
        It is ready when it listens and has an upstream to ask; what isn't needed
        doesn't count.
        """
        guard: Any = self.server.guard
        response = self.ask("GET", "/ready", token="")
        self.assertEqual((response.status, response.json["ready"]), (503, False))
        guard.listeners.inner.running = 1
        response = self.ask("GET", "/ready", token="")
        self.assertEqual((response.status, response.json["ready"]), (200, True))
        for upstream in guard.forwarder.upstreams.upstreams:
            upstream.standing.backoffUntil = 1e12
        response = self.ask("GET", "/ready", token="")
        self.assertEqual(response.status, 503)
        states = {each["name"]: each for each in response.json["dependencies"]}
        self.assertEqual(states["upstreams"]["detail"], "0 of 3 usable")
        self.assertFalse(states["query_store"]["needed"])

    def test_version(self) -> None:
        """
        It says what it is, and counts its own requests.
        """
        self.server.reactor.advance(5.0)
        answer = self.ask("GET", "/version").json
        self.assertGreaterEqual(answer["uptime_seconds"], 5.0)
        self.assertGreaterEqual(answer["control"]["status_200"], 1)

    def test_describesItself(self) -> None:
        """
        The page to read the document with needs no token and nothing from
        elsewhere.
        """
        for path, kind in [
            ("docs", "text/html; charset=utf-8"),
            ("docs/viewer.js", "text/javascript; charset=utf-8"),
            ("docs/viewer.css", "text/css; charset=utf-8"),
        ]:
            response = self.ask("GET", f"/api/v1/{path}", token="")
            self.assertEqual((response.status, response.headers["content-type"]), (200, kind))
            self.assertNotIn(b"//cdn", response.body)
            self.assertNotRegex(response.body.decode(), r"https?://")
            self.assertIn("script-src 'self'", response.headers["content-security-policy"])
