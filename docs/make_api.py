"""Make API.md of the docstrings: ``make docs``.

griffe reads the sources and takes the docstrings apart. It imports nothing, so the page is the same
whatever extras are installed. api.md.jinja is the page, ruff formats the signatures in it.
"""

import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import griffe
from jinja2 import Environment, FileSystemLoader

FOLDER = Path(__file__).parent
PAGE = FOLDER / "API.md"

GROUPS: dict[str, dict[str, list[str] | None]] = {
    "The library": {
        "pixelcodec": None,
        "pixelcodec.errors": None,
        "pixelcodec.pictures": None,
    },
    "Plug-ins": {
        "pixelcodec.pillow": None,
        "pixelcodec.imagecodecs": None,
        "pixelcodec.numcodecs": None,
        "pixelcodec.zarr": None,
        "pixelcodec.ray": None,
    },
    "Types in signatures": {
        "pixelcodec.stream": ["Encoding", "Decoding"],
        "pixelcodec.container": ["Header", "Readable", "Source", "Writable"],
        "pixelcodec.api": ["Region"],
        "pixelcodec.runtime": ["Progress"],
    },
    "Networks": {
        "pixelcodec.models.network": ["IntegerNetwork", "IntegerLayer"],
        "pixelcodec.models.program": None,
        "pixelcodec.models.architectures": ["Architecture", "ARCHITECTURES", "FloatNetwork"],
        "pixelcodec.models.layers": ["MaskedConv2d", "QuantisationAware", "relu"],
        "pixelcodec.models.grouped": None,
        "pixelcodec.models.paper": None,
        "pixelcodec.models.softmax": None,
        "pixelcodec.models.quantise": None,
        "pixelcodec.models.train": ["Plan", "Run", "Report"],
        "pixelcodec.models.recipes": ["Recipe", "names", "load"],
        "pixelcodec.models.zoo": None,
    },
}
"""What the page has: modules by group, and of each some names, or None for all public ones."""

_SPECIAL = ("__call__", "__iter__", "__len__")
"""Methods that callers use by other means than their names."""

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`([^`]+)`")
_POWER = re.compile(r"(``[^`]*``)|\*\*")
_DOCTEST = re.compile(r"^>>> .*\n(?:.+\n)*", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """A name and what it stands for.

    Attributes:
        path: under which callers import it.
        thing: the module, class, function or value itself.
    """

    path: str
    thing: Any

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring, in one line."""
        return " ".join(self.thing.docstring.value.split("\n\n")[0].split())

    @property
    def sections(self) -> dict[str, Any]:
        """The parts of the docstring by their kind; those of a class with those of its __init__."""
        docstrings = [self.thing.docstring]
        if self.thing.is_class and "__init__" in self.thing.members:
            docstrings.append(self.thing.members["__init__"].docstring)
        parsed = [section for each in docstrings if each for section in each.parsed]
        text = [each.value for each in parsed if each.kind is griffe.DocstringSectionKind.text]
        return {**{each.kind.value: each.value for each in parsed}, "text": "\n\n".join(text)}

    @property
    def properties(self) -> list["Entry"]:
        """Those of a class."""
        return [each for each in self._members() if "property" in each.thing.labels]

    @property
    def methods(self) -> list["Entry"]:
        """Those of a class."""
        return [each for each in self._members() if each.thing.is_function]

    def _members(self) -> Iterator["Entry"]:
        for name, member in self.thing.members.items():
            shown = name in _SPECIAL or not name.startswith("_")
            if self.thing.is_class and shown and member.docstring:
                yield Entry(f"{self.path}.{name}", member)


class Reference:
    """The sources, and which names of them the page has."""

    def __init__(self) -> None:
        """Read the sources as they are installed: models/ is a part of the package."""
        self._loader = griffe.GriffeLoader(
            search_paths=[FOLDER.parent],
            docstring_parser=griffe.Parser.google,
            docstring_options={
                "ignore_init_summary": True,
                "returns_multiple_items": False,
            },
            allow_inspection=False,
        )
        package = self._loader.load("pixelcodec")
        package.set_member("models", self._loader.load("models"))
        modules = {module: names for group in GROUPS.values() for module, names in group.items()}
        self._listed = {module: self._entries(module, names) for module, names in modules.items()}
        self._homes = {module: module for module in modules}
        entries = [entry for listed in self._listed.values() for entry in listed]
        paths = {entry.path for entry in entries}
        for entry in entries:
            self._settle(entry, paths)

    def markdown(self) -> str:
        """The page."""
        environment = Environment(
            loader=FileSystemLoader(FOLDER),
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
        )
        environment.filters |= {"anchor": anchor, "prose": self.prose, "stub": stub}
        text = environment.get_template("api.md.jinja").render(groups=GROUPS, reference=self)
        return formatted(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")

    def module(self, path: str) -> Entry:
        """A module."""
        return Entry(path, self._loader.modules_collection[path])

    def described(self, module: str) -> list[Entry]:
        """The names that are described with a module, not elsewhere."""
        return [each for each in self._listed[module] if self._homes[each.thing.path] == each.path]

    def elsewhere(self, module: str) -> list[Entry]:
        """Other names of it, under the paths where they are described."""
        homes = [(self._homes[each.thing.path], each) for each in self._listed[module]]
        return [Entry(home, each.thing) for home, each in homes if home != each.path]

    def prose(self, text: str, scope: Any) -> str:
        """Turn text of a docstring into Markdown: references into links, examples into code."""
        literal = _POWER.sub(lambda found: found[1] or r"\*\*", text)
        linked = _ROLE.sub(partial(self._link, scope), literal.replace("::\n\n", ":\n\n"))
        return _DOCTEST.sub(r"```pycon\n\g<0>```\n", f"{linked}\n").strip()

    def _link(self, scope: Any, role: re.Match[str]) -> str:
        home = self._homes.get(self._resolved(role[1], scope))
        return f"[`{role[1]}`](#{anchor(home)})" if home else f"`{role[1]}`"

    def _resolved(self, name: str, scope: Any) -> str:
        """The path of the very thing that ``name`` means in a docstring of ``scope``."""
        first, dot, rest = name.partition(".")
        paths = [name]
        with suppress(griffe.NameResolutionError):
            paths.insert(0, scope.resolve(first) + dot + rest)
        for path in paths:
            with suppress(griffe.AliasResolutionError, KeyError):
                return str(self._loader.modules_collection[path].canonical_path)
        return name

    def _entries(self, module: str, names: Sequence[str] | None) -> list[Entry]:
        """Names of a module, those of a file together in their order."""
        members = self.module(module).thing.members
        chosen = names or [name for name, each in members.items() if not _is_hidden(each)]
        entries = [Entry(f"{module}.{name}", members[name]) for name in chosen]
        found = [Entry(entry.path, _target(entry.thing)) for entry in entries]
        return sorted(found, key=lambda entry: (entry.thing.module.path, entry.thing.lineno or 0))

    def _settle(self, entry: Entry, paths: Collection[str]) -> None:
        """Let a thing be described once: where it is defined, if that is among ``paths``."""
        own = entry.thing.path
        home = self._homes.setdefault(own, own if own in paths else entry.path)
        if entry.thing.is_class:
            for each in entry.properties:
                self._homes[f"{own}.{each.name}"] = home
            for each in entry.methods:
                self._homes[f"{own}.{each.name}"] = f"{home}.{each.name}"


def _target(member: Any) -> Any:
    return member.final_target if member.is_alias else member


def _is_hidden(member: Any) -> bool:
    """Whether a name is not public, or nothing to describe: a module, or without a docstring."""
    return not member.is_public or _target(member).is_module or not _target(member).docstring


def stub(entry: Entry) -> str:
    """Give what a type checker would see of it, before ruff formats it."""
    thing = entry.thing
    if thing.is_function:
        decorator = "@classmethod\n" if "classmethod" in thing.labels else ""
        return f"{decorator}def {thing.signature()}: ..."
    if thing.is_attribute:
        annotation = f": {thing.annotation}" if thing.annotation else ""
        return f"{thing.name}{annotation} = {thing.value}"
    bases = f"({', '.join(map(str, thing.bases))})" if thing.bases else ""
    return "\n    ".join([f"class {thing.name}{bases}:", *_body(thing)])


def _body(thing: Any) -> list[str]:
    """What there is to know of a class before its methods: how it is made, or its fields."""
    if "__init__" in thing.members:
        signature = thing.members["__init__"].signature()
        return [f"def {signature.replace('(', '(self, ', 1)}: ..."]
    fields = [each for each in thing.attributes.values() if "property" not in each.labels]
    return [f"{each.name}: {each.annotation}" for each in fields if each.annotation] or ["..."]


def anchor(path: str) -> str:
    """Give the anchor of a heading, as code-hosting sites make it."""
    return re.sub(r"[^\w-]", "", path.lower())


def formatted(page: str) -> str:
    """Format the Python in a Markdown page."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PAGE), "-"]
    done = subprocess.run(command, input=page, capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    PAGE.write_text(Reference().markdown(), encoding="utf-8")
