"""``pixelcodec models``: the models that are installed, and the card of each."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from pixelcodec.cli.common import errors_about, examples, json_option
from pixelcodec.cli.suggestions import model_names
from pixelcodec.cli.tables import table


@click.command(
    epilog=examples(
        "pixelcodec models",
        "pixelcodec models photo-m",
        "pixelcodec models --json",
    )
)
@click.argument("name", required=False, shell_complete=model_names)
@json_option
def models(name: str | None, as_json: bool) -> None:
    """List the installed models, or show the card of one."""
    from pixelcodec.models import zoo

    if name is None:
        cards = [_card(each) for each in zoo.names()]
        click.echo(json.dumps(cards, indent=2) if as_json else _list(cards))
    else:
        card = _card(name)
        click.echo(json.dumps(card, indent=2) if as_json else "\n".join(_lines(card)))


def _card(name: str) -> dict[str, Any]:
    from pixelcodec.models import zoo

    with errors_about(None):
        return zoo.card(name)


def _list(cards: list[dict[str, Any]]) -> str:
    rows = [
        [card["name"], _text(card["parameters"]), _text(card["macs_per_pixel"]), card["summary"]]
        for card in cards
    ]
    return table(["model", "parameters", "MACs/pixel", "summary"], rows, left=(0, 3))


def _lines(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in facts.items():
        label = f"{indent}{key.replace('_', ' ')}:"
        if isinstance(value, Mapping):
            yield label
            yield from _lines(value, indent + "  ")
        else:
            yield f"{label} {_text(value)}"


def _text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case list():
            return ", ".join(map(_text, value))
    return str(value)
