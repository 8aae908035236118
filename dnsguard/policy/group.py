# -*- test-case-name: tests.policy.test_group -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which rules hold for one client group, and when.

A group that inherits has two books of rules: its own and, below it, the global
one. For each name the first of these that speaks decides:

  1. what the group's family time blocks now;
  2. what the group allows;
  3. what the global family time blocks now;
  4. a pause: from here on nothing is blocked;
  5. what the group denies;
  6. what is allowed globally, then what is denied globally;
  7. the lists, global ones before the group's.

So an operator's explicit word beats any list, the group's word beats the global
one, and family time holds through pauses. A group that doesn't inherit has one
book, in which the same order holds; global pauses aren't for it.

The rules of each combination of times are made when the policy is built, so
that when a window opens, all that happens is a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import attrs

from dnsguard.policy.decision import Attribution, Decision
from dnsguard.policy.sameness import isSame
from dnsguard.policy.schedule import Schedule
from dnsguard.policy.view import NO_RULES, Rules, View

__all__ = ["GroupPlan", "LayeredRules", "RuleBook", "RuleParts", "RulesFactory", "State"]

State = tuple[bool, ...]
"""For each book, is its family time on?; and last: is blocking paused?"""


@attrs.frozen
class RuleParts:
    """
    What one set of rules is made of, at one time.

    @ivar place: The key path of the block these were written in, for
        attributions such as C{client_groups[0].blocklist.denylist[2]}.
    @ivar sources: The names of the lists that count, in order.
    @ivar allow: Domains and C{/regular expressions/} never to block.
    @ivar deny: Those always to block.
    @ivar familyTime: Domains blocked before all else: family time is on.
    @ivar paused: Block nothing but C{familyTime}.
    """

    place: str
    sources: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    familyTime: tuple[str, ...] = ()
    paused: bool = False


RulesFactory = Callable[[RuleParts], Rules]
"""
Makes rules of parts, off the reactor. Raises L{dnsguard.errors.PolicyError} or
L{dnsguard.policy.problems.InvalidPolicy} when a rule can't be read.
"""


@attrs.frozen
class RuleBook:
    """
    All that stands in one C{blocklist} block.

    @ivar place: Its key path.
    @ivar familyDomains: What family time blocks.
    @ivar familySchedule: When family time is.
    @ivar pauseSchedule: When blocking is paused.
    """

    place: str = "blocklists"
    sources: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    familyDomains: tuple[str, ...] = ()
    familySchedule: Schedule = attrs.field(factory=Schedule)
    pauseSchedule: Schedule = attrs.field(factory=Schedule)

    @property
    def familyStates(self) -> tuple[bool, ...]:
        """
        Whether family time can be on.
        """
        return (False, True) if self.familyDomains and self.familySchedule.windows else (False,)

    def family(self, on: bool) -> tuple[str, ...]:
        """
        What family time blocks now.
        """
        return self.familyDomains if on else ()


class LayeredRules:
    """
    Rules asked one after the other; the first that speaks of a name decides.
    """

    def __init__(self, layers: tuple[Rules, ...]) -> None:
        self._layers = layers

    def decide(self, qname: bytes, type: int) -> Decision | None:
        """
        Say what the first layer that speaks of a name says.
        """
        for layer in self._layers:
            decision = layer.decide(qname, type)
            if decision is not None:
                return decision
        return None

    def isSame(self, other: LayeredRules) -> bool:
        """
        Are the layers known to decide as the other's do?
        """
        ours, theirs = self._layers, other._layers
        return len(ours) == len(theirs) and all(map(isSame, ours, theirs))

    def explain(self, qname: bytes, type: int) -> list[Attribution]:
        """
        Give all rules that speak of a name, of the layers that can tell, in
        the order they would be asked.
        """
        found: list[Attribution] = []
        for layer in self._layers:
            explain = getattr(layer, "explain", None)
            if explain is not None:
                found += explain(qname, type)
        return found


@attrs.frozen(eq=False)
class GroupPlan:
    """
    How one group is treated at any time.

    @ivar template: The group's view, but for its number and rules.
    @ivar books: Its books of rules, the group's own before the global one.
    @ivar underGlobal: Is the global book among them? Then global pauses are
        for this group, too.
    @ivar variants: The rules for each state that can occur.
    """

    template: View
    books: tuple[RuleBook, ...]
    underGlobal: bool
    variants: Mapping[State, Rules]

    @classmethod
    def fixed(cls, template: View) -> GroupPlan:
        """
        Make a plan of the template's own rules, for all times.
        """
        return cls(template, (), True, {(False,): template.rules, (True,): NO_RULES})

    @classmethod
    def prepare(
        cls,
        template: View,
        books: tuple[RuleBook, ...],
        underGlobal: bool,
        factory: Callable[[tuple[RuleParts, ...]], Rules],
    ) -> GroupPlan:
        """
        Make a plan and the rules of every state.

        @param factory: Makes rules of one or more layers of parts.
        """
        states = product(*(book.familyStates for book in books), (False, True))
        variants = {state: factory(layersOf(books, state)) for state in states}
        return cls(template, books, underGlobal, variants)

    @property
    def groupID(self) -> str:
        """
        The group's id.
        """
        return self.template.groupID

    def state(self, now: float, paused: bool) -> State:
        """
        Say which state the group is in.

        @param now: Seconds since the epoch.
        @param paused: Has somebody paused it by hand?
        """
        families = [
            len(book.familyStates) > 1 and book.familySchedule.active(now) for book in self.books
        ]
        pause = paused or any(book.pauseSchedule.active(now) for book in self.books)
        return (*families, pause)

    def nextChange(self, now: float) -> float | None:
        """
        Say when one of its windows opens or closes next.
        """
        changes = [
            change
            for book in self.books
            for schedule in (book.familySchedule, book.pauseSchedule)
            if schedule.windows and (change := schedule.nextChange(now)) is not None
        ]
        return min(changes, default=None)


def layersOf(books: tuple[RuleBook, ...], state: State) -> tuple[RuleParts, ...]:
    """
    Give the parts of a group's rules, layer by layer, in the order that the
    module's description says.

    @param books: The group's own book and the global one, or just one.
    """
    paused = state[-1]
    floor = books[-1]
    sources = dict.fromkeys(floor.sources)
    layers: list[RuleParts] = []
    for book, family in zip(books[:-1], state, strict=False):
        sources.update(dict.fromkeys(book.sources))
        deny = () if paused else book.deny
        if book.allow or deny or book.family(family):
            layers.append(RuleParts(book.place, (), book.allow, deny, book.family(family)))
    layers.append(
        RuleParts(
            floor.place,
            tuple(sources),
            floor.allow,
            floor.deny,
            floor.family(state[-2]),
            paused,
        )
    )
    return tuple(layers)
