"""What ``pixelcodec compare`` found, for programs: CSV and JSON."""

import csv
import json
from collections.abc import Sequence
from io import StringIO
from typing import Any

from pixelcodec.cli.measuring import Comparison, Measured, Result, totals, with_ratios
from pixelcodec.cli.tables import bits_per_sample

_IMAGE = ("file", "width", "height", "channels")
_RESULT = ("codec", "bytes", "bpsp", "ratio", "encode_seconds", "decode_seconds")
CSV_HEAD = (*_IMAGE, *_RESULT)


def csv_text(comparison: Comparison) -> str:
    """A line for each image and codec."""
    text = StringIO()
    writer = csv.DictWriter(text, CSV_HEAD, lineterminator="\n")
    writer.writeheader()
    for image in comparison.images:
        for result in _results(image.results, image.samples):
            writer.writerow(_image(image) | result)
    return text.getvalue()


def json_text(comparison: Comparison) -> str:
    """The results of each image and of all, how they were measured, and what went wrong."""
    found = {
        "circumstances": comparison.circumstances,
        "codecs": {codec.name: codec.about for codec in comparison.codecs},
        "images": [
            _image(image)
            | {"results": _results(image.results, image.samples), "left_out": image.left_out}
            for image in comparison.images
        ],
        "totals": _results(totals(comparison.images), comparison.samples),
        "failures": [failure.message for failure in comparison.failures],
    }
    return json.dumps(found, indent=2)


def _image(image: Measured) -> dict[str, Any]:
    height, width, channels = image.shape
    return dict(zip(_IMAGE, (str(image.path), width, height, channels), strict=True))


def _results(results: Sequence[Result], samples: int) -> list[dict[str, Any]]:
    found = []
    for result, ratio in with_ratios(results):
        bpsp = bits_per_sample(result.size, samples)
        size = (result.codec, result.size, bpsp, ratio)
        facts = (*size, result.encode_seconds, result.decode_seconds)
        found.append(dict(zip(_RESULT, facts, strict=True)))
    return found
