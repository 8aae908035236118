# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for C{docs/monitoring.rst} and what belongs to it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import unittest
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml
from prometheus_client import generate_latest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dnsguard.assembly.metrics import METRICS
from dnsguard.assembly.metrics.page import page
from dnsguard.observers.exposition import Kind
from tests.support.guard import makeGuard

DOCS = Path(__file__).parents[3] / "docs"
MONITORING = DOCS / "monitoring"

PROCESS = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "up",
}
"""What is used of that which isn't declared by us."""

WORDS = {
    "and",
    "by",
    "histogram_quantile",
    "increase",
    "label_values",
    "max",
    "min",
    "or",
    "rate",
    "sum",
    "time",
}
"""Words of PromQL, and of Grafana's queries."""


def published() -> set[str]:
    """
    The names of all series there can be.
    """
    names = set(PROCESS)
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            names |= {metric.name + end for end in ("_bucket", "_count", "_sum")}
        else:
            names.add(metric.name)
    return names


def labelsOf(name: str) -> set[str]:
    """
    The labels of a series.
    """
    for metric in METRICS:
        if name in (metric.name, *(metric.name + end for end in ("_bucket", "_count", "_sum"))):
            return {*metric.labels, "job", "instance", *(["le"] if name != metric.name else [])}
    return {"job", "instance"}


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """
    The series that an expression selects, with the labels they are selected by.
    """
    bare = re.sub(r"\b(by|on|ignoring)\s*\([^)]*\)", "", expression)
    for name, braces in re.findall(r"([a-z_][a-z0-9_]*)\s*(\{[^}]*\})?", _unquoted(bare)):
        if name not in WORDS:
            yield name, set(re.findall(r"([a-z_]+)\s*[=!]", braces))


def _unquoted(expression: str) -> str:
    """
    Leave out text in quotes, durations and variables.
    """
    expression = re.sub(r'"[^"]*"', "", expression)
    return re.sub(r"\[[^\]]*\]|\$\w+", "", expression)


def grouped(expression: str) -> set[str]:
    """
    The labels that an expression groups by.
    """
    found = re.findall(r"\bby\s*\(([^)]*)\)", expression)
    return {label.strip() for group in found for label in group.split(",")}


@unittest.skipUnless(MONITORING.exists(), "not in a source tree")
class MonitoringTests(SynchronousTestCase):
    """
    The page, the dashboard and the alerts agree with the code.
    """

    def test_pageIsUpToDate(self) -> None:
        """
        The page in docs/ describes the metrics there are.
        """
        self.assertEqual((DOCS / "monitoring.rst").read_text("utf-8"), page())

    def check(self, expression: str, place: str) -> None:
        """
        See that an expression speaks of what is published.
        """
        known = published()
        found = list(selectors(expression))
        self.assertNotEqual(found, [], place)
        every = set()
        for name, labels in found:
            self.assertIn(name, known, place)
            self.assertLessEqual(labels, labelsOf(name), f"{place}: {name}")
            every |= labelsOf(name)
        self.assertLessEqual(grouped(expression), every, place)

    def test_dashboard(self) -> None:
        """
        Every panel shows what is published, with labels that are there.
        """
        board = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        self.assertGreater(len(panels), 20)
        for panel in panels:
            for target in panel["targets"]:
                self.check(target["expr"], panel["title"])
                shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                allowed = grouped(target["expr"]) or {"instance"}
                self.assertLessEqual(shown, allowed, panel["title"])
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                self.check(variable["query"].partition("(")[2].partition(",")[0], "variable")
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))

    def test_alerts(self) -> None:
        """
        Every alert looks at what is published, and says what is wrong.
        """
        rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text("utf-8"))
        for group in rules["groups"]:
            for rule in group["rules"]:
                self.check(rule["expr"], rule["alert"])
                self.assertIn(rule["labels"]["severity"], {"critical", "warning"})
                self.assertIn("summary", rule["annotations"])

    def promtool(self, *arguments: str) -> None:
        """
        Have Prometheus' own tool look at something.
        """
        if shutil.which("promtool") is None:
            raise SkipTest("promtool, of Debian's package prometheus, isn't installed")
        done = subprocess.run(
            ["promtool", *arguments], capture_output=True, check=False, text=True, cwd=MONITORING
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_alertsWork(self) -> None:
        """
        Prometheus takes the alerts, and they fire when they should.
        """
        self.promtool("check", "rules", "alerts.yaml")
        self.promtool("test", "rules", "alerts-test.yaml")

    def example(self, name: str) -> str:
        """
        Give an example of the page.
        """
        text = (DOCS / "monitoring.rst").read_text("utf-8")
        found = re.search(rf"    :name: {re.escape(name)}\n\n((?:    .*\n|\n)+)", text)
        assert found is not None
        return dedent(found[1])

    def test_prometheusConfiguration(self) -> None:
        """
        The configuration of Prometheus that the page shows is one.
        """
        path = Path(self.mktemp()).absolute()
        path.mkdir()
        (path / "prometheus.yml").write_text(self.example("prometheus.yml"))
        shutil.copy(MONITORING / "alerts.yaml", path)
        self.promtool("check", "config", str(path / "prometheus.yml"))

    def test_tac(self) -> None:
        """
        What the page shows for C{.tac} files serves metrics.
        """
        text = self.example("metrics.tac")
        text = text.replace("from twisted.internet import reactor\n", "")
        text = text.replace("Guard(Config(), reactor)", "guard")
        names: dict[str, Any] = {"guard": makeGuard(self.mktemp())}
        names["reactor"] = names["guard"].reactor
        exec(compile(text, "metrics.tac", "exec"), names)
        self.assertIn(b"\ndns_l0_entries 0.0\n", generate_latest(names["registry"]))
        self.assertIs(names["site"].resource._exposition, names["guard"].exposition)


class ReadingTests(SynchronousTestCase):
    """
    The checks see what they are to see.
    """

    def test_selectors(self) -> None:
        """
        Series and labels are found in expressions.
        """
        expression = (
            'sum by (a, b) (rate(x_total{job="$job",c=~"d|e"}[5m])) / time() > on (f) (y > 0)'
        )
        self.assertEqual(list(selectors(expression)), [("x_total", {"job", "c"}), ("y", set())])
        self.assertEqual(grouped(expression), {"a", "b"})
