# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Packaging: pure Python, with compiled twins of a few modules where a C compiler
is at hand. Without one the install succeeds and everything works, slower.
"""

import os
import re
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command import editable_wheel
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "([^"]+)"', (HERE / "dnsguard" / "__init__.py").read_text("utf-8")
).group(1)


def compiledTwins():
    """
    One optional extension for each Cython source in the package.
    """
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    extensions = [
        Extension(
            ".".join(source.relative_to(HERE).with_suffix("").parts),
            [str(source.relative_to(HERE))],
            depends=[str(header.relative_to(HERE)) for header in source.parent.glob("*.h")],
            extra_compile_args=["-O3", "-Wno-unused-function"],
        )
        for source in sorted((HERE / "dnsguard").rglob("_*.pyx"))
    ]
    compiled = cythonize(extensions, language_level=3, annotate=False)
    for extension in compiled:
        # cythonize() makes new Extension objects and drops this on the way.
        extension.optional = True
    return compiled


MODULES = """
    answer caching/clears caching/servfail caching/sliding caching/ttl histogram
    observers/event observers/hitcounter observers/metrics policy/localrecords
    policy/ruleset policy/snapshot policy/specialnames query querystore/buffer
    querystore/recorder querystore/rows replay/listener resolvers/backoff
    resolvers/blocklist resolvers/cached resolvers/chain resolvers/forwarder
    resolvers/keptanswers resolvers/localrecords resolvers/memorycache
    resolvers/safesearch resolvers/search server/corridor server/counters
    server/exchange server/pending server/reply server/respondent upstream/attempt
    upstream/coalesce upstream/datagram upstream/exchange upstream/message
    upstream/ports upstream/reply upstream/routes upstream/selection upstream/waiter
    upstream/watch upstream/wheel wire/rewrite
"""
"""
What a query that isn't answered from the replay store goes through. These are
compiled as they are, the same source. Not in place, where they would hide changes
of the source. What is made for each query has a C{.pxd} file beside it, which says
that its attributes are fields of a C structure.
"""


def compiledModules():
    """
    One optional extension for each of these modules.
    """
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    compiled = cythonize(
        [
            Extension(
                f"dnsguard.{module.replace('/', '.')}",
                [f"dnsguard/{module}.py"],
                extra_compile_args=["-O2", "-w"],
            )
            for module in MODULES.split()
        ],
        build_dir="build/cython",
        language_level=3,
        quiet=True,
        # What is written beside a name is for mypy; nothing is checked here.
        compiler_directives={"binding": True, "annotation_typing": False, "nonecheck": True},
    )
    for extension in compiled:
        extension.optional = True
    return compiled


class OptionalBuild(build_ext):
    """
    Build what can be built; a missing compiler is a note, not a failure.
    """

    def finalize_options(self):
        if not self.inplace:
            self.distribution.ext_modules.extend(compiledModules())
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def run(self):
        # An editable install is in place, too, and says so only now.
        if getattr(self, "editable_mode", False):
            names = {f"dnsguard.{module.replace('/', '.')}" for module in MODULES.split()}
            self.extensions = [each for each in self.extensions if each.name not in names]
        try:
            super().run()
        except Exception as reason:
            self.warn(f"compiled twins left out, pure Python will be used: {reason}")
        if not self.inplace:
            self.keepAllOrNone()

    def keepAllOrNone(self):
        """
        Leave no module compiled if anything couldn't be: those that know the C
        structures of another can't be imported where that one has none.
        """
        places = {each.name: Path(self.get_ext_fullpath(each.name)) for each in self.extensions}
        missing = [name for name, place in places.items() if not place.exists()]
        if missing:
            self.warn(f"modules stay as they are, as these can't be compiled: {missing}")
            for module in MODULES.split():
                place = places.get(f"dnsguard.{module.replace('/', '.')}")
                if place is not None:
                    place.unlink(missing_ok=True)


class VisibleEditable(editable_wheel.editable_wheel):
    """
    An editable install that puts this folder on the path.

    setuptools' default one maps top-level packages instead, and then twistd,
    which looks for C{twisted/plugins} along the path, doesn't see the plugin.
    """

    def finalize_options(self):
        super().finalize_options()
        modes = getattr(editable_wheel, "_EditableMode", None)
        if self.mode is None and "COMPAT" in getattr(modes, "__members__", ()):
            self.mode = "compat"


CLICKHOUSE = ["clickhouse-connect>=0.8", "lz4>=4", "urllib3>=2"]
# There are no wheels for the smallest machines, whose queries are kept in memory.
DUCKDB = [
    f'{package}; platform_machine != "armv7l" and platform_machine != "armv6l"'
    for package in ("duckdb>=1.2", "numpy>=1.26")
]

setup(
    name="dnsguard",
    version=VERSION,
    description="A filtering DNS resolver on Twisted: block lists, caches, groups, fast.",
    long_description=(HERE / "README.rst").read_text("utf-8"),
    long_description_content_type="text/x-rst",
    author="The dnsguard developers",
    license="MIT",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Internet :: Name Service (DNS)",
        "Typing :: Typed",
    ],
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["dnsguard", "dnsguard.*"]), "twisted.plugins"],
    package_data={
        "dnsguard": [
            "py.typed",
            "**/*.yaml",
            "**/*.json",
            "**/*.txt",
            "**/*.pyx",
            "**/*.pxd",
            "**/*.pyi",
            "**/*.h",
            "control/static/*",
        ],
        "twisted": ["plugins/dnsguard_plugin.py"],
    },
    ext_modules=compiledTwins(),
    cmdclass={"build_ext": OptionalBuild, "editable_wheel": VisibleEditable},
    install_requires=[
        "Twisted[tls]>=24.11",
        "zope.interface>=6",
        "attrs>=23.2",
        "click>=8.2",
        "dnspython>=2.6",
        "PyYAML>=6",
        "tzdata",
        "idna>=3.7",
        "rich>=13.7",
        "google-re2>=1.1",
        "klein>=23.12",
        "ruamel.yaml>=0.18",
        "argon2-cffi>=23.1",
        "prometheus-client>=0.20",
        *CLICKHOUSE,
        *DUCKDB,
        "txredisapi>=1.4.11",
        "hiredis>=3.0",
    ],
    extras_require={
        "dev": [
            "Cython>=3.1",
            "docutils>=0.20",
            "Pygments>=2.17",
            "hypothesis>=6.100",
            "schemathesis>=4.20",
            "mypy>=1.10",
            "mypy-zope>=1.0",
            "ruff>=0.6",
            "types-docutils",
            "types-PyYAML",
            "coverage>=7",
            "trustme>=1.1",
            "build",
            "towncrier>=23.11",
            "tox>=4",
        ],
    },
    entry_points={"console_scripts": ["dnsguard = dnsguard.cli:main"]},
    zip_safe=False,
)
