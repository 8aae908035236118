# -*- test-case-name: tests.control.config.test_editor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Changing the operator's file: checked before it is written, written at once or
not at all, put into force as by SIGHUP, and put back if that can't be done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredLock

from dnsguard.config.document import DocumentError, parseDocument
from dnsguard.config.load import Loaded, Source, load
from dnsguard.config.model import Config
from dnsguard.config.problem import Problem, Severity, pathFromText
from dnsguard.config.tree import Node, find
from dnsguard.control.config.document import EditError, plain
from dnsguard.control.config.history import History, Version
from dnsguard.control.config.rewriter import rewritten
from dnsguard.control.config.view import HIDDEN, changes
from dnsguard.control.route import Refused
from dnsguard.control.tokens import replaceFile
from dnsguard.errors import ConfigError, PolicyError, StoreError
from dnsguard.policy.problems import InvalidPolicy

__all__ = ["Change", "ConfigEditor", "Edit", "Origin"]

Patch = Mapping[str, Any]

Edit = Callable[[Mapping[str, Any]], "Patch | str"]
"""
Takes what holds now, as L{plain} gives it, and gives a merge patch, or the text
of another file. Called in a thread; may raise L{Refused}.
"""


@attrs.frozen
class Origin:
    """
    Where the configuration comes from.

    @ivar source: The files.
    @ivar environ: The environment.
    """

    source: Source
    environ: Mapping[str, str]


@attrs.frozen
class Change:
    """
    What a change came to.

    @ivar changed: What differs in the file: path, before, after.
    @ivar warnings: What there is to say about it.
    @ivar version: The id of the version before, to go back to; 0 when nothing
        was changed.
    @ivar etag: What the file's content is called now.
    """

    changed: list[dict[str, Any]]
    warnings: tuple[str, ...] = ()
    version: int = 0
    etag: str = ""


@attrs.frozen
class _Plan:
    """
    A change that may be made.
    """

    path: Path
    before: str
    after: str
    changed: list[dict[str, Any]]
    warnings: tuple[str, ...]


class ConfigEditor:
    """
    Changes the operator's file.

    @ivar history: Former versions of it.
    """

    def __init__(
        self,
        origin: Callable[[], Origin],
        examine: Callable[[Config], Iterable[PolicyError]],
        attempt: Callable[[], Deferred[Any]],
        history: History,
        inThread: Callable[..., Deferred[Any]],
        now: Callable[[], float],
    ) -> None:
        """
        @param origin: Says where the configuration comes from.
        @param examine: Finds what is wrong with one besides its form; called in
            a thread.
        @param attempt: Reloads; gives something with C{ok} and C{problems}.
        @param inThread: Calls a function in a thread.
        @param now: Seconds since the epoch.
        """
        self.history = history
        self._origin = origin
        self._examine = examine
        self._attempt = attempt
        self._inThread = inThread
        self._now = now
        self._lock = DeferredLock()

    async def text(self) -> str:
        """
        Read the file.

        @raise Refused: There is none.
        @raise StoreError: It can't be read.
        """
        text: str = await self._inThread(_read, self._path())
        return text

    def _path(self) -> Path:
        path = self._origin().source.path
        if path is None:
            raise Refused(409, "dnsguard was started without a configuration file to change")
        # What a link leads to is written, not the link replaced.
        return path.resolve()

    def check(self, edit: Edit) -> Deferred[Change]:
        """
        See what a change would come to, and don't make it.

        @raise Refused: As L{change} does.
        """
        return Deferred.fromCoroutine(self._check(edit))

    async def _check(self, edit: Edit) -> Change:
        plan = await self._inThread(self._plan, self._path(), edit, "")
        return Change(plan.changed, plan.warnings, 0, etagOf(plan.before))

    def change(self, edit: Edit, by: str, ifMatch: str = "") -> Deferred[Change]:
        """
        Change the file and put it into force, one after the other where several
        do.

        @param by: The name of the token that it is changed by.
        @param ifMatch: The ETag that the file must have; empty: any.
        @return: What it came to. Fails with L{Refused}, and all is as it was,
            when it can't be used.
        """
        return self._lock.run(lambda: Deferred.fromCoroutine(self._change(edit, by, ifMatch)))

    async def _change(self, edit: Edit, by: str, ifMatch: str) -> Change:
        plan: _Plan = await self._inThread(self._plan, self._path(), edit, ifMatch)
        if plan.before == plan.after:
            return Change([], plan.warnings, 0, etagOf(plan.after))
        version = await self._inThread(self._write, plan, by)
        outcome = await self._attempt()
        if not outcome.ok:
            await self._inThread(self._restore, plan, version)
            raise refusal(409, "it can't be put into force", outcome.problems)
        return Change(plan.changed, plan.warnings, version, etagOf(plan.after))

    # In threads.

    def _plan(self, path: Path, edit: Edit, ifMatch: str) -> _Plan:
        """
        Work out a change and check it.
        """
        origin = self._origin()
        before = _read(path)
        if ifMatch and ifMatch not in ("*", etagOf(before)):
            raise Refused(412, "the file has changed in the meantime", etag=etagOf(before))
        try:
            now = plain(load(origin.source, origin.environ).root)
        except ConfigError:
            # What is there can't be used; it can be replaced all the same.
            now = {}
        wanted = edit(now)
        try:
            after = wanted if isinstance(wanted, str) else rewritten(before, withoutHidden(wanted))
        except EditError as problem:
            raise Refused(409, str(problem)) from None
        loaded = self._usable(origin, after)
        changed = _changes(before, after)
        warnings = [problem.sentence for problem in loaded.warnings]
        warnings += _overruled(loaded.root, [change["path"] for change in changed])
        return _Plan(path, before, after, changed, tuple(warnings))

    def _usable(self, origin: Origin, text: str) -> Loaded:
        """
        @raise Refused: It can't be used.
        """
        try:
            loaded = load(origin.source, origin.environ, text)
        except ConfigError as error:
            raise refusal(422, "it can't be used", error.problems) from None
        problems = loaded.explain(InvalidPolicy(tuple(self._examine(loaded.config))))
        if any(problem.severity is Severity.ERROR for problem in problems):
            raise refusal(422, "it can't be used", problems)
        return loaded

    def _write(self, plan: _Plan, by: str) -> int:
        paths = tuple(change["path"] for change in plan.changed[:100])
        version = self.history.add(self._now(), by, paths, plan.before)
        try:
            replaceFile(plan.path, plan.after.encode("utf-8"))
        except StoreError:
            self.history.remove(version)
            raise
        return version

    def _restore(self, plan: _Plan, version: int) -> None:
        replaceFile(plan.path, plan.before.encode("utf-8"))
        self.history.remove(version)

    def version(self, id: int | None) -> Version:
        """
        Give a former version. In a thread.

        @raise Refused: There is none.
        """
        version = self.history.get(id)
        if version is None:
            raise Refused(404, "no such version" if id else "there is no former version")
        return version


def etagOf(text: str) -> str:
    """
    Name the content of a file.
    """
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def refusal(status: int, reason: str, problems: Iterable[Problem]) -> Refused:
    """
    Say no, with all that is wrong.
    """
    told = [
        {"path": problem.path, "message": problem.message, "severity": problem.severity.value}
        for problem in problems
    ]
    errors = [each for each in told if each["severity"] == Severity.ERROR.value]
    if errors:
        path, message = errors[0]["path"], errors[0]["message"]
        reason = f"{reason}: {path}: {message}" if path else f"{reason}: {message}"
    return Refused(status, reason, problems=told)


def withoutHidden(patch: Any) -> Any:
    """
    Leave out what stands for a secret: whoever sends back what was shown to
    them doesn't want to change it.

    @raise Refused: It stands in a list, where nothing can be left out.
    """
    if isinstance(patch, Mapping):
        return {name: withoutHidden(value) for name, value in patch.items() if value != HIDDEN}
    if isinstance(patch, list):
        return [_unhidden(member) for member in patch]
    return _unhidden(patch)


def _unhidden(value: Any) -> Any:
    """
    @raise Refused: A secret that isn't shown stands in it.
    """
    if isinstance(value, Mapping):
        return {name: _unhidden(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_unhidden(member) for member in value]
    if isinstance(value, str) and HIDDEN in value:
        raise Refused(400, f"{HIDDEN} stands for a secret, which has to be said again here")
    return value


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise StoreError(str(path), "not UTF-8 text") from None
    except OSError as problem:
        raise StoreError(str(path), problem.strerror or str(problem)) from None


def _changes(before: str, after: str) -> list[dict[str, Any]]:
    try:
        old = parseDocument(before.encode(), "before")
    except DocumentError:
        old = parseDocument(b"", "before")
    return changes(old, parseDocument(after.encode(), "after"))


def _overruled(root: Node, paths: Iterable[str]) -> list[str]:
    """
    Tell of what was changed in vain: the environment goes before the file.
    """
    told = []
    for path in paths:
        entry = find(root, pathFromText(path))
        if entry is not None and entry.value.place.file.startswith("environment variable"):
            told.append(f"{path} is set by {entry.value.place}, which goes before the file")
    return told
