# -*- test-case-name: tests.cli.test_query -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard query}: a small dig that knows what dnsguard adds to an answer.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import click

from dnsguard.cli import exchange
from dnsguard.cli.client import Trouble
from dnsguard.cli.entry import Exit
from dnsguard.cli.exchange import Exchange, NoReply, Server
from dnsguard.cli.output import clean, writeJSON
from dnsguard.cli.presentation import Sections, errorsOf, sectionsOf
from dnsguard.cli.words import nameOf, typeOf
from dnsguard.wire import layout
from dnsguard.wire.edns import EDE_OPTION, EDNS
from dnsguard.wire.layout import MalformedMessage
from dnsguard.wire.mnemonics import rCodeName, typeName
from dnsguard.wire.names import fromText, toText

__all__ = ["query"]

_FLAGS = {
    "qr": layout.QR,
    "aa": layout.AA,
    "tc": layout.TC,
    "rd": layout.RD,
    "ra": layout.RA,
    "ad": layout.AD,
    "cd": layout.CD,
}

_BLOCKING = {15, 16, 17, 18}
"""Blocked, censored, filtered, prohibited (RFC 8914 §4.16-4.19)."""


@click.command()
@click.argument("name")
@click.argument("type", required=False)
@click.option(
    "-s",
    "--server",
    envvar="DNSGUARD_SERVER",
    default="127.0.0.1",
    show_default=True,
    help="Whom to ask.",
)
@click.option(
    "-p",
    "--port",
    type=click.IntRange(1, 65535),
    envvar="DNSGUARD_PORT",
    help="Its port.  [default: 53; 853 with --tls, 443 with --https]",
)
@click.option("--tcp", "transport", flag_value="tcp", help="Ask over TCP.")
@click.option("--tls", "transport", flag_value="tls", help="Ask over TLS.")
@click.option("--https", "transport", flag_value="https", help="Ask over HTTPS.")
@click.option("--path", default="/dns-query", show_default=True, help="Where, with --https.")
@click.option("--tls-name", default="", help="The name that its certificate must have.")
@click.option(
    "--ca", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust, PEM."
)
@click.option("--no-verify", is_flag=True, help="Take any certificate.")
@click.option("--dnssec", is_flag=True, help="Ask for signatures (DO).")
@click.option("--cd", "unchecked", is_flag=True, help="Ask not to check signatures (CD).")
@click.option("--no-edns", is_flag=True, help="Ask as before 1999, so that no reason comes.")
@click.option("--no-recurse", is_flag=True, help="Ask for what is known already.")
@click.option("--ignore", is_flag=True, help="Show a truncated reply, don't ask over TCP.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 600),
    default=5.0,
    show_default=True,
    help="Seconds to wait for the reply.",
)
@click.option("--short", is_flag=True, help="Write the values alone.")
@click.option("--json", "asJSON", is_flag=True, help="Write JSON, for programs.")
@click.pass_context
def query(context: click.Context, /, name: str, type: str | None, **options: Any) -> None:
    """
    Ask a running instance for NAME, as its clients do.

    TYPE is A unless told otherwise; for an IP address, PTR of its name in
    reverse. Ends with 0 if there are records, with 1 if the name is blocked,
    doesn't exist, has none or couldn't be resolved, with 3 without a reply.
    """
    asked, number = _question(name, type)
    server = _server(options)
    edns = None if options["no_edns"] else EDNS(dnssecOK=options["dnssec"])
    question = exchange.makeQuestion(
        asked,
        number,
        edns=edns,
        recursion=not options["no_recurse"],
        checkingDisabled=options["unchecked"],
    )
    try:
        found = exchange.ask(server, question, ignoreTruncation=options["ignore"])
    except NoReply as problem:
        raise Trouble(str(problem), Exit.UNREACHABLE) from None
    try:
        sections = sectionsOf(found)
    except MalformedMessage as problem:
        raise Trouble(f"the reply is damaged: {problem}", Exit.UNREACHABLE) from None
    if options["asJSON"]:
        writeJSON(_record(found, server, sections, asked, number))
    elif options["short"]:
        for record in sections["answer"]:
            click.echo(record["data"])
    else:
        _show(found, server, sections, asked, number)
    context.exit(Exit.FINE if _positive(found, sections) else Exit.NEGATIVE)


def _server(options: dict[str, Any]) -> Server:
    """
    Whom to ask.
    """
    transport = options["transport"] or "udp"
    return Server(
        options["server"],
        options["port"] or exchange.PORTS[transport],
        transport,
        options["timeout"],
        options["tls_name"],
        options["ca"],
        not options["no_verify"],
        options["path"],
    )


def _question(name: str, type: str | None) -> tuple[bytes, int]:
    """
    What is asked for.
    """
    try:
        if type is None:
            address = ipaddress.ip_address(name)
            return fromText(address.reverse_pointer), 12
    except ValueError:
        pass
    try:
        return nameOf(name), typeOf(type or "A")
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None


def _positive(found: Exchange, sections: Sections) -> bool:
    """
    Was what is asked for found?
    """
    blocked = any(error["code"] in _BLOCKING for error in errorsOf(found))
    return found.layout.rCode == 0 and bool(sections["answer"]) and not blocked


def _flags(found: Exchange) -> list[str]:
    return [name for name, bit in _FLAGS.items() if found.layout.flags & bit]


def _record(
    found: Exchange, server: Server, sections: Sections, asked: bytes, number: int
) -> dict[str, Any]:
    """
    All of it, for programs.
    """
    edns = found.layout.edns
    return {
        "question": {"name": toText(asked), "type": typeName(number)},
        "rcode": rCodeName(found.layout.rCode),
        "id": found.layout.id,
        "flags": _flags(found),
        "edns": edns
        and {
            "version": edns.version,
            "udp_payload_size": edns.payloadSize,
            "dnssec_ok": edns.dnssecOK,
            "options": [
                {"code": code, "data": data.hex()}
                for code, data in edns.options
                if code != EDE_OPTION
            ],
        },
        "extended_errors": errorsOf(found),
        **sections,
        "server": server.host,
        "port": server.port,
        "transport": found.transport,
        "milliseconds": round(found.seconds * 1000, 3),
        "octets": len(found.reply),
    }


def _show(found: Exchange, server: Server, sections: Sections, asked: bytes, number: int) -> None:
    """
    All of it, for people.
    """
    code = rCodeName(found.layout.rCode)
    colour = "green" if code == "NOERROR" else "red"
    click.echo(
        f"{click.style(code, fg=colour, bold=True)}  {' '.join(_flags(found))}"
        f"  id {found.layout.id}"
    )
    edns = found.layout.edns
    if edns is not None:
        asks = " do" if edns.dnssecOK else ""
        click.echo(f"edns version {edns.version}{asks} udp {edns.payloadSize}")
        for option, data in edns.options:
            if option != EDE_OPTION:
                click.echo(f"option {option} {data.hex()}")
    for error in errorsOf(found):
        text = f": {clean(error['text'])}" if error["text"] else ""
        reason = f"reason {error['code']} {error['meaning']}".rstrip() + text
        click.secho(reason, fg="yellow")
    click.echo(f"\n{click.style('question', bold=True)}\n{toText(asked)}\t{typeName(number)}")
    for title, records in sections.items():
        if records:
            click.secho(f"\n{title}", bold=True)
        for each in records:
            line = "\t".join(str(each[key]) for key in ("name", "ttl", "class", "type", "data"))
            click.echo("\t".join(map(clean, line.split("\t"))))
    click.echo(
        f"\n{server.host} port {server.port} over {found.transport}, "
        f"{found.seconds * 1000:.1f} ms, {len(found.reply)} octets"
    )
