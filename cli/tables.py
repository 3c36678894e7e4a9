"""Plain text for people: tables, figures, the shape of an image."""

from collections.abc import Collection, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Lay out rows of text under a head: the columns in ``left`` to the left, figures to the right.

    >>> print(table(["codec", "bytes"], [["PNG", "120"], ["WebP", "99"]]))
    codec  bytes
    PNG      120
    WebP      99
    """
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join(map(line, lines))


def indented(text: str, spaces: int = 2) -> str:
    """Move every line of a text to the right."""
    return "\n".join(" " * spaces + line if line else line for line in text.splitlines())


def shape_name(height: int, width: int, channels: int, is_palette: bool = False) -> str:
    """Say the shape of an image.

    >>> shape_name(512, 768, 3)
    '768x512 RGB'
    >>> shape_name(512, 768, 1, is_palette=True)
    '768x512 palette'
    """
    return f"{width}x{height} {'palette' if is_palette else _KINDS[channels]}"


_KINDS = {1: "gray", 2: "gray with alpha", 3: "RGB", 4: "RGBA"}


def channel_names(channels: int) -> list[str]:
    """Name the channels of an image that has so many.

    >>> channel_names(4)
    ['red', 'green', 'blue', 'alpha']
    """
    colours = ["gray"] if channels < 3 else ["red", "green", "blue"]
    return [*colours, "alpha"][:channels]


def bits_per_sample(size: int, samples: int) -> float:
    """Return bits per sub-pixel (bpsp): what a file of ``size`` bytes spends on one sample."""
    return 8 * size / samples
