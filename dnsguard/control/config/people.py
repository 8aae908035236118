# -*- test-case-name: tests.control.config.test_editor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Clients and their groups: changed in the operator's file, and live at once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dnsguard.config.model import Config
from dnsguard.config.problem import BUILT_IN
from dnsguard.config.tree import Mapping as MappingNode
from dnsguard.control.config.editor import ConfigEditor, Edit
from dnsguard.control.config.view import effective
from dnsguard.control.route import LARGE_BODY, Call, Refused, Role, Route
from dnsguard.control.schema import ANYTHING, DONE, listOf, record, text, truth
from dnsguard.policy.snapshot import DEFAULT_GROUP

__all__ = ["PeopleFamily"]

_NOTHING = MappingNode(BUILT_IN)

_OBJECT = {"type": "object"}

_CLIENT = {
    "ip": text("An IP address or a network.", least=1, most=64),
    "name": text(most=64),
    "group_id": text(most=64),
}

_GROUP = {
    "id": text(least=1, most=64),
    "name": text(most=64),
    "description": text(),
    "blocklist": {**_OBJECT, "description": "As in the configuration, family time included."},
    "safe_search": {**_OBJECT, "description": "As in the configuration."},
    "disable_cache": truth(),
}

_ERRORS = {
    409: "There is no file to change, or the change can't be put into force.",
    422: "The change can't be used; ``problems`` says why.",
}


class PeopleFamily:
    """
    Clients and groups.
    """

    name = "Clients"
    meaning = "Clients and their groups: changed in the operator's file, and live at once."

    def __init__(self, editor: ConfigEditor, config: Callable[[], Config]) -> None:
        """
        @param config: Gives what is in force.
        """
        self._editor = editor
        self._config = config

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/clients",
            self.clients,
            Role.VIEWER,
            "List the clients that are known.",
            response=record({"clients": listOf(record(_CLIENT))}),
            aliases=("/clients",),
        )
        yield Route(
            "POST",
            "/clients",
            self.putClient,
            Role.OPERATOR,
            "Add a client, or change the one with the same address.",
            body=record(_CLIENT, optional=("name", "group_id")),
            response=DONE,
            aliases=("/clients",),
            errors=_ERRORS,
        )
        yield Route(
            "DELETE",
            "/clients/{ip}",
            self.removeClient,
            Role.OPERATOR,
            "Remove a client, if there is one.",
            response=DONE,
            aliases=("/clients/{ip}",),
            errors=_ERRORS,
        )
        yield from self._groupRoutes()

    def _groupRoutes(self) -> Iterator[Route]:
        yield Route(
            "GET",
            "/client-groups",
            self.groups,
            Role.VIEWER,
            "List the groups.",
            response=record({"client_groups": listOf(ANYTHING)}),
            aliases=("/client-groups",),
        )
        yield Route(
            "POST",
            "/client-groups",
            self.putGroup,
            Role.OPERATOR,
            "Add a group, or change the one with the same id; what isn't said stays as it is.",
            body=record(
                _GROUP,
                optional=("name", "description", "blocklist", "safe_search", "disable_cache"),
            ),
            bodyMost=LARGE_BODY,
            response=DONE,
            aliases=("/client-groups",),
            errors=_ERRORS,
        )
        yield Route(
            "DELETE",
            "/client-groups/{id}",
            self.removeGroup,
            Role.OPERATOR,
            "Remove a group, if there is one. Its clients are in none afterwards.",
            response=DONE,
            aliases=("/client-groups/{id}",),
            errors={400: "The group ``default`` can't be removed.", **_ERRORS},
        )

    def clients(self, call: Call) -> Any:
        """
        See the route.
        """
        clients = self._config().clientIdentification.clients
        return {
            "clients": [
                {"ip": client.ip, "name": client.name, "group_id": client.groupID}
                for client in clients
            ]
        }

    def groups(self, call: Call) -> Any:
        """
        See the route.
        """
        config = self._config()
        return {"client_groups": effective(config, _NOTHING)["client_groups"]}

    async def putClient(self, call: Call) -> Any:
        """
        See the route.
        """
        body = {**call.body, "ip": canonical(call.body["ip"])}

        def edit(now: Mapping[str, Any]) -> Mapping[str, Any]:
            clients = _clientsOf(now)
            for place, client in enumerate(clients):
                if canonical(str(client.get("ip"))) == body["ip"]:
                    clients[place] = _without({**client, **body}, ("name", "group_id"))
                    break
            else:
                clients.append(_without(body, ("name", "group_id")))
            return {"client_identification": {"clients": clients}}

        warning = ""
        if not self._config().clientIdentification.enabled:
            warning = "client_identification.enabled is false: nobody is told apart"
        return await self._done(call, edit, warning)

    async def removeClient(self, call: Call) -> Any:
        """
        See the route.
        """
        ip = canonical(call.parameters["ip"])

        def edit(now: Mapping[str, Any]) -> Mapping[str, Any]:
            clients = _clientsOf(now)
            left = [client for client in clients if canonical(str(client.get("ip"))) != ip]
            return _listed(("client_identification", "clients"), clients, left)

        return await self._done(call, edit)

    async def putGroup(self, call: Call) -> Any:
        """
        See the route.
        """
        body = call.body

        def edit(now: Mapping[str, Any]) -> Mapping[str, Any]:
            groups = [dict(group) for group in now.get("client_groups") or ()]
            for place, group in enumerate(groups):
                if group.get("id") == body["id"]:
                    groups[place] = _without({**group, **body}, ("name", "description"))
                    break
            else:
                groups.append(_without(body, ("name", "description")))
            return {"client_groups": groups}

        return await self._done(call, edit)

    async def removeGroup(self, call: Call) -> Any:
        """
        See the route.
        """
        id = call.parameters["id"]
        if id == DEFAULT_GROUP:
            raise Refused(400, "the group default can't be removed", field="id")
        members = 0

        def edit(now: Mapping[str, Any]) -> Mapping[str, Any]:
            nonlocal members
            groups = [dict(group) for group in now.get("client_groups") or ()]
            left = [group for group in groups if group.get("id") != id]
            clients = _clientsOf(now)
            members = sum(client.get("group_id") == id for client in clients)
            kept = [
                _without(client, ("group_id",), client.get("group_id") == id) for client in clients
            ]
            return {
                **_listed(("client_groups",), groups, left),
                **_listed(("client_identification", "clients"), clients, kept),
            }

        done = await self._done(call, edit)
        if members:
            done["warning"] = f"{members} clients were in it, and are in no group now"
        return done

    async def _done(self, call: Call, edit: Edit, warning: str = "") -> dict[str, Any]:
        change = await self._editor.change(edit, call.caller.name, call.ifMatch)
        warning = warning or "; ".join(change.warnings)
        return {"ok": True, "warning": warning} if warning else {"ok": True}


def canonical(ip: str) -> str:
    """
    Write an address or network as the configuration does; anything else as it
    is, for the configuration to complain of.
    """
    try:
        return str(ipaddress.ip_network(ip) if "/" in ip else ipaddress.ip_address(ip))
    except ValueError:
        return ip


def _clientsOf(now: Mapping[str, Any]) -> list[dict[str, Any]]:
    section = now.get("client_identification") or {}
    return [dict(client) for client in section.get("clients") or ()]


def _listed(path: tuple[str, ...], before: list[Any], after: list[Any]) -> dict[str, Any]:
    """
    Give the patch that makes a list another one: none if it is the same.
    """
    if before == after:
        return {}
    patch: Any = after
    for step in reversed(path):
        patch = {step: patch}
    return dict(patch)


def _without(value: Mapping[str, Any], names: tuple[str, ...], always: bool = False) -> Any:
    """
    Leave out what is empty, or leave it out in any case.
    """
    return {
        name: member
        for name, member in value.items()
        if name not in names or (member not in ("", None) and not always)
    }
