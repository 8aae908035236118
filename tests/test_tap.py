# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.tap}.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IService, IServiceMaker, Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, capturedLogs
from twisted.plugin import IPlugin, getPlugins
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dnsguard.config import Config, loadText
from dnsguard.errors import PolicyError
from dnsguard.interfaces import IReloadable
from dnsguard.observers.applog import ApplicationLog
from dnsguard.tap import Options, TopService, makeService


@implementer(IReloadable)
class Resolver(Service):
    """
    Stands for everything that the assembly builds.
    """

    name = "resolver"

    def __init__(self, config: Config) -> None:
        self.configs = [config]
        self.result: Deferred[None] = succeed(None)

    def reloadConfiguration(self, config: Config) -> Deferred[None]:
        """
        Note a configuration.
        """
        self.configs.append(config)
        return self.result


class Reactor(MemoryReactorClock):
    """
    A reactor with a thread pool that nobody uses.
    """

    def getThreadPool(self) -> None:
        """
        Give none.
        """


class MakeServiceTests(SynchronousTestCase):
    """
    Tests for L{makeService}.
    """

    def make(
        self, text: str = "", twistd: dict[str, Any] | None = None, assemble: Any = None
    ) -> TopService:
        """
        What is built of a configuration.
        """
        path = Path(self.mktemp())
        path.write_text(text)
        options = Options()
        options.parseOptions(["--config", str(path)])
        options.parent = usage.Options()
        options.parent.update({"nodaemon": True} if twistd is None else twistd)
        self.reactor = Reactor()
        self.resolvers: list[Resolver] = []

        def assembly(config: Config, reactor: Any) -> Resolver:
            self.assertIs(reactor, self.reactor)
            self.resolvers.append(Resolver(config))
            return self.resolvers[-1]

        top = makeService(options, self.reactor, assemble or assembly, {})
        assert isinstance(top, TopService)
        return top

    def refused(self, text: str, assemble: Any = None) -> str:
        """
        What is written when nothing can be built of a configuration.
        """
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            stopped: SystemExit = self.assertRaises(SystemExit, self.make, text, None, assemble)
        self.assertEqual(stopped.code, 1)
        return errors.getvalue()

    def test_services(self) -> None:
        """
        The log starts first and the resolver last; none of them is started.
        """
        top = self.make("cache: {lru_size: 5}")
        verifyObject(IService, top)
        self.assertEqual(
            [service.name for service in top], ["applog", "errors", "reload", "resolver"]
        )
        self.assertFalse(any(service.running for service in top))
        self.assertEqual(self.resolvers[0].configs[0].cache.lruSize, 5)

    def test_observer(self) -> None:
        """
        The application gets our log observer, in the configured format.
        """
        application = Application("dnsguard")
        self.make("logging: {format: json, level: debug}").setServiceParent(application)
        observer = ILogObserver(application)
        assert isinstance(observer, ApplicationLog)
        self.assertEqual((observer.format, observer.level), ("json", "debug"))

    def test_othersLog(self) -> None:
        """
        Where twistd is told how to log, it does; our observer stays away.
        """
        for twistd in ({"logger": "x.y"}, {"syslog": True}):
            application = Application("dnsguard")
            top = self.make("", twistd)
            top.setServiceParent(application)
            self.assertIsNone(application.getComponent(ILogObserver, None))
            self.assertEqual([service.name for service in top], ["errors", "reload", "resolver"])

    def test_logFile(self) -> None:
        """
        twistd's log file is ours.
        """
        name = self.mktemp()
        top = self.make("", {"logfile": name, "nodaemon": False})
        assert top.applicationLog is not None
        top.applicationLog.writer.write("hello")
        self.assertEqual(Path(name).read_text(), "hello\n")

    def test_reload(self) -> None:
        """
        Reloading hands the new configuration to the resolver and the log.
        """
        top = self.make()
        config = loadText("logging: {level: error}").config
        top.apply(config)
        self.assertIs(self.resolvers[0].configs[-1], config)
        assert top.applicationLog is not None
        self.assertEqual(top.applicationLog.level, "error")

    def test_failedReload(self) -> None:
        """
        When the resolver can't go over to it, the log doesn't either.
        """
        top = self.make()
        self.resolvers[0].result = fail(PolicyError("cache", "no"))
        applied = top.apply(loadText("logging: {level: error}").config)
        assert applied is not None
        self.failureResultOf(applied, PolicyError)
        assert top.applicationLog is not None
        self.assertEqual(top.applicationLog.level, "info")

    def test_badLogFile(self) -> None:
        """
        A log file that can't be written is told in a line.
        """
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            self.assertRaises(SystemExit, self.make, "", {"logfile": "/nonexistent/a.log"})
        self.assertEqual(
            errors.getvalue(),
            "dnsguard: log file /nonexistent/a.log: No such file or directory\n",
        )

    def test_badConfiguration(self) -> None:
        """
        Every problem is written to standard error, and the process ends.
        """
        errors = self.refused("cache: {min_ttl: x}\nfoo: 1\n").splitlines()
        self.assertEqual(len(errors), 3)
        self.assertIn(":1:18: cache.min_ttl: 'x'", errors[0])
        self.assertIn(":2:1: foo: unknown key 'foo'", errors[1])
        self.assertEqual(errors[2], "dnsguard: the configuration can't be used")

    def test_badPolicy(self) -> None:
        """
        What only the assembly finds out is told with its place as well.
        """

        def assemble(config: Config, reactor: Any) -> Resolver:
            raise PolicyError("local_records[0].value", "no mail exchange")

        errors = self.refused("local_records: [{name: a, type: MX, value: x}]", assemble)
        self.assertIn(":1:44: local_records[0].value: no mail exchange\n", errors)

    def test_elsewhere(self) -> None:
        """
        A problem in another file is told with that file's name.
        """

        def assemble(config: Config, reactor: Any) -> Resolver:
            raise PolicyError("/etc/hosts:7", "no address")

        self.assertIn("/etc/hosts:7: no address\n", self.refused("", assemble))

    def test_cannotListen(self) -> None:
        """
        A port that is taken is one line, not a traceback, and ends the process.
        """
        top = TopService(None, lambda config: None)

        class Listener(Service):
            def privilegedStartService(self) -> None:
                raise CannotListenError("127.0.0.1", 53, OSError(98, "Address in use"))

        Listener().setServiceParent(top)
        with capturedLogs() as events:
            stopped: SystemExit = self.assertRaises(SystemExit, top.privilegedStartService)
        self.assertEqual(stopped.code, 1)
        self.assertEqual(len(events), 1)
        self.assertIn("127.0.0.1", events[0]["reason"])


class OptionsTests(SynchronousTestCase):
    """
    Tests for L{Options} and the plugin.
    """

    def test_options(self) -> None:
        """
        Both files can be named; anything else is refused.
        """
        options = Options()
        options.parseOptions(["-c", "a", "--default-config", "b"])
        self.assertEqual((options["config"], options["default-config"]), ("a", "b"))
        self.assertRaises(usage.UsageError, Options().parseOptions, ["--nonsense"])
        self.assertRaises(usage.UsageError, Options().parseOptions, ["argument"])

    def test_plugin(self) -> None:
        """
        twistd knows the plugin by its name.
        """
        plugins = [p for p in getPlugins(IServiceMaker) if p.tapname == "dnsguard"]
        self.assertEqual(len(plugins), 1)
        verifyObject(IServiceMaker, plugins[0])
        verifyObject(IPlugin, plugins[0])
        self.assertIs(plugins[0].options, Options)
        self.assertIs(plugins[0].makeService, makeService)
