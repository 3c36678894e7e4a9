"""The page and the JSON of ``pixelcodec compare``: what they hold, and that they need nothing."""

import base64
import io
import json
import os
import re
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import pixelcodec
from commands import assert_fails_in_one_line, run, save
from pictures import noise, scene
from pixelcodec.cli import machine
from pixelcodec.cli.charts import PLOT, Box, LogAxis, Timed, labelled, scatter
from pixelcodec.cli.common import Compute, Failure
from pixelcodec.cli.measuring import Comparison, Measured, Result, measure_image
from pixelcodec.cli.report import report
from pixelcodec.cli.rivals import Codec, is_ours, short_name
from pixelcodec.cli.rivals import pixelcodec as this_codec
from pixelcodec.cli.views import SIDE, File, View, look_by
from pixelcodec.effort import STATIC
from pixelcodec.engine import Engine
from pixelcodec.evaluation import bit_map
from pixelcodec.models import zoo
from pixelcodec.pictures import Chunk, Picture, read_picture

COMPUTE: Compute = {"device": "cpu", "threads": None, "backend": None}
NASTY = '<b>&".png'
CODECS = ["PNG optimised", "WebP lossless", "JPEG XL e9", "pixelcodec"]


# Pages -------------------------------------------------------------------------------------------


def unused(*_: Any) -> Any:
    raise AssertionError("a report runs no codec")


def file_of(picture: Picture, model: str | None = "photo-s") -> File:
    return File(pixelcodec.encode(picture, model=model, effort=STATIC), picture)


def looked_at(picture: Picture, file: File | None) -> View:
    return look_by(COMPUTE)(picture.in_colour(), file, None)


@cache
def view_of(height: int, width: int, channels: int) -> View:
    picture = Picture.from_array(scene(height, width, channels))
    return looked_at(picture, file_of(picture))


def comparison(*names: str, failures: tuple[str, ...] = ()) -> Comparison:
    """Made up: each codec is smaller and slower than the one before, each image larger."""
    codecs = [Codec(name, f"about {name}", unused, unused) for name in CODECS]
    images = []
    for number, name in enumerate(names, 1):
        results = [Result("raw", 20_000 * number)]
        for place, codec in enumerate(CODECS):
            size, seconds = (10_000 - 1000 * place) * number, 0.01 * 10**place
            results.append(Result(codec, size, seconds, seconds / 2))
        images.append(Measured(Path(name), (40, 60, 3), results, [], view_of(40, 60, 3)))
    errors = [Failure(None, failure) for failure in failures]
    return Comparison(codecs, {"date": "today", "load before": "0.1"}, images, errors)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """All elements of a page, each with the text right inside of it."""

    VOID = ("meta", "link", "img", "br", "hr", "input", "circle", "line", "rect")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.text = ""
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1].tag not in ("script", "style"):
            self.text += data
            self._open[-1].text.append(data)

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def texts(self, tag: str) -> list[str]:
        return ["".join(element.text).strip() for element in self.all(tag)]


@pytest.fixture(scope="module")
def html() -> str:
    return report(comparison("folder/a.png", f"folder/inner/{NASTY}"))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_a_page_needs_no_other_file(html: str, page: Page) -> None:
    for element in page.elements:
        for name in ("src", "href", "srcset", "xlink:href"):
            assert (element.attributes.get(name) or "data:").startswith("data:")
    assert "url(" not in html
    assert "@import" not in html
    assert "://" not in html
    (policy,) = (
        element.attributes["content"]
        for element in page.all("meta")
        if element.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_each_image_is_there_with_its_map(page: Page) -> None:
    sources = [element.attributes["src"] or "" for element in page.all("img")]
    assert len(sources) == 4
    for source in sources:
        data = base64.b64decode(source.removeprefix("data:image/webp;base64,"))
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == ("WEBP", (60, 40))
    assert all(element.attributes["alt"] for element in page.all("img"))


def test_file_names_are_text_and_nothing_else(page: Page) -> None:
    assert f"inner/{NASTY}" in page.text
    assert [
        element.attributes["alt"]
        for element in page.all("img")
        if NASTY in (element.attributes["alt"] or "")
    ] == [f"inner/{NASTY}, in small", f"Bits of each pixel of inner/{NASTY}"]
    assert all("".join(element.text).strip() != "&" for element in page.all("b"))


def test_the_folder_that_all_images_are_in_is_not_told(html: str) -> None:
    assert "folder" not in html
    assert os.getcwd() not in html


def test_the_table_has_each_image_and_each_codec(page: Page) -> None:
    assert page.texts("button") == [
        *("Image", "Codec", "Bytes", "Bits a sample", "Of PNG", "Encode s", "Decode s")
    ]
    values = [
        element.attributes["data-value"]
        for element in page.all("td")
        if "data-value" in element.attributes
    ]
    rows = [values[first : first + 5] for first in range(0, len(values), 5)]
    assert len(rows) == 2 * (1 + len(CODECS))
    assert rows[0] == ["20000", repr(8 * 20_000 / 7200), "2.0", "", ""]
    assert rows[-1] == ["14000", repr(8 * 14_000 / 7200), "0.7", "10.0", "5.0"]


def test_headings_are_buttons_that_say_how_a_column_is_sorted(page: Page) -> None:
    sortable = [each for each in page.all("th") if "aria-sort" in each.attributes]
    assert len(sortable) == len(page.all("button"))
    assert {each.attributes["aria-sort"] for each in sortable} == {"none"}
    assert {each.attributes["type"] for each in page.all("button")} == {"button"}


def test_findings_compare_the_totals(page: Page) -> None:
    figures = page.texts("dd")[:5]
    assert figures == ["11.667", "30.0%", "22.2%", "12.5%", "10-fold"]
    assert page.texts("dt")[:5] == [
        "bits a sample: pixelcodec",
        "smaller than PNG optimised",
        "smaller than WebP lossless",
        "smaller than JPEG XL e9",
        "the time of JPEG XL e9 to decode",
    ]


def test_what_is_larger_is_called_larger() -> None:
    found = comparison("a.png")
    found.images[0].results[-1] = Result(CODECS[-1], 12_000, 1, 1)
    assert "larger than PNG optimised" in Page(report(found)).text


def test_bars_are_as_long_as_bits(html: str) -> None:
    assert re.findall(r'class="bar" style="[^"]*width: ([\d.]+)%', html) == [
        *("100.00", "90.00", "80.00", "70.00")
    ]


def test_bits_of_each_channel_are_those_of_the_network(page: Page) -> None:
    bits = bit_map(scene(40, 60, 3), Engine(zoo.load("photo-s"))).sum((0, 1), dtype="f8")
    for total in bits:
        assert page.texts("td").count(f"{total:,.0f}") == 2  # both images are the same


def test_circumstances_and_codecs_are_told(page: Page) -> None:
    told = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert told["load before"] == "0.1"
    for name in CODECS:
        assert told[name] == f"about {name}"


def test_failures_are_told() -> None:
    found = Page(report(comparison("a.png", failures=("no <i>such</i> file",))))
    assert "no <i>such</i> file" in found.texts("li")


def test_a_page_of_no_images_is_a_page() -> None:
    found = Page(report(comparison(failures=("no such file",))))
    assert found.texts("h1") == ["0 images, 4 lossless codecs"]
    assert found.all("table") == found.all("svg") == []


def test_a_model_in_a_file_is_called_by_its_file() -> None:
    found = comparison("a.png")
    found.codecs[-1] = Codec("pixelcodec /home/me/mine.safetensors", "", unused, unused)  # type: ignore[index]
    found.images[0].results[-1] = Result(found.codecs[-1].name, 5000, 1, 1)
    html = report(found)
    assert "/home/me" not in html
    assert "pixelcodec mine.safetensors" in html


def contrast(one: str, other: str) -> float:
    """The ratio of two colours such as #1d1c20 by WCAG 2.2, 1 to 21."""

    def luminance(colour: str) -> float:
        parts = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_can_be_read(theme: int, html: str) -> None:
    block = re.findall(r":root \{([^}]+)", html)[theme]
    colour = dict(re.findall(r"--(\w+): (#\w{6});", block))
    for paper in ("paper", "raised"):
        for ink in ("ink", "soft", "ours"):
            assert contrast(colour[ink], colour[paper]) >= 4.5
    assert contrast(colour["ink"], colour["mark"]) >= 4.5
    assert contrast(colour["rival"], colour["paper"]) >= 3


# Views -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "size"),
    [((40, 60), (60, 40)), ((90, 3 * SIDE), (SIDE, 30)), ((2 * SIDE, 2), (1, SIDE))],
    ids=["small", "wide", "tall"],
)
def test_a_view_is_never_larger_than_its_side(shape: Any, size: Any) -> None:
    picture = Picture.from_array(np.zeros(shape, np.uint8))
    found = looked_at(picture, file_of(picture))
    assert found.size == size
    assert found.bits is not None
    assert found.bits.shape == size[::-1]
    with Image.open(io.BytesIO(found.thumbnail)) as image:
        assert image.size == size


PALETTE = Chunk(b"PLTE", bytes(range(255, -1, -1)) * 3)


@pytest.mark.parametrize(
    ("picture", "channels"),
    [
        (Picture.from_array(scene(40, 40, 3)), ["red", "green", "blue"]),
        (Picture.from_array(noise(40, 40, 4)), ["red", "green", "blue", "alpha"]),
        (Picture(scene(40, 40)[..., None], 8, (PALETTE,)), ["index"]),
    ],
    ids=["RGB", "RGBA", "palette"],
)
def test_the_bits_of_a_view_are_those_in_the_file(picture: Picture, channels: list[str]) -> None:
    data = pixelcodec.encode(picture, model="graphics")
    found = looked_at(picture, File(data, picture))
    assert found.model == "graphics"
    assert list(found.channel_bits) == channels
    size = sum(found.channel_bits.values()) / 8
    assert 0 <= sum(pixelcodec.inspect(io.BytesIO(data)).strips) - size <= 8


def test_an_image_that_no_model_coded_has_a_view_without_bits() -> None:
    bilevel = Picture.from_array(np.eye(9, dtype=np.bool_))
    found = looked_at(bilevel, file_of(bilevel, None))
    assert (found.model, found.bits, found.channel_bits) == (None, None, {})
    assert looked_at(bilevel, None) == found
    images = comparison("a.png")
    images.images[0] = Measured(Path("a.png"), (9, 9, 1), [Result("raw", 81)], [], found)
    assert "no model coded it" in report(images)


# Codecs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "short", "ours"),
    [
        ("pixelcodec", "pixelcodec", True),
        ("pixelcodec e9", "pixelcodec e9", True),
        ("pixelcodec photo-s", "pixelcodec photo-s", True),
        ("pixelcodec /home/me/mine.safetensors e9", "pixelcodec mine.safetensors e9", True),
        ("JPEG XL e9", "JPEG XL e9", False),
    ],
)
def test_a_model_in_a_file_goes_without_its_folder(codec: str, short: str, ours: bool) -> None:
    assert (short_name(codec), is_ours(codec)) == (short, ours)


def test_what_codes_an_image_is_told() -> None:
    about = this_codec(None, COMPUTE, 1).about
    assert re.search(r"effort 1, photo-s \w{16} or .*graphics \w{16} or .*PNG or WebP", about)


def test_a_palette_is_measured_as_encode_takes_it(folder: Path) -> None:
    image = Image.fromarray(scene(40, 40, 3)).quantize(16)
    image.save("palette.png")
    taken: list[Picture] = []

    def encode(picture: Picture, _: Any) -> bytes:
        taken.append(picture)
        return b"data"

    codecs = [
        Codec("colours", "", encode, lambda *_: taken[-1].to_array(), lambda it: not it.is_palette),
        Codec("pixelcodec", "", encode, lambda *_: taken[-1].to_array()),
    ]

    found = measure_image(Path("palette.png"), codecs, lambda stage: nullcontext())

    colours = read_picture(Path("palette.png")).in_colour()
    assert [each.is_palette for each in taken[1::2]] == [False, True]  # each is warmed up first
    assert taken[1] == colours
    assert found.shape == (40, 40, 1)
    assert found.shape_name == "40x40 palette"
    assert found.results[0] == Result("raw", 1600)


# Charts ------------------------------------------------------------------------------------------

values = st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=9)


@given(values)
def test_an_axis_has_all_values_in_their_order_and_round_marks(found: list[float]) -> None:
    axis = LogAxis(found, 10, 90)
    places = [axis.place(value) for value in sorted(found)]
    assert places == sorted(places)
    assert places[0] >= 10
    assert places[-1] <= 90
    marks = [axis.place(mark) for mark in axis.marks]
    assert 2 <= len(marks) <= 20
    assert all(9.99 <= mark <= 90.01 for mark in marks)


def test_an_axis_is_logarithmic() -> None:
    axis = LogAxis([1, 100], 0, 1)
    assert axis.place(10) == pytest.approx(0.5)


def test_labels_of_points_that_lie_together_can_be_read() -> None:
    places = [(200.0, 150.0)] * 4 + [(PLOT.left, PLOT.top), (PLOT.right, PLOT.bottom)]
    boxes = [label.box for label in labelled(["some label"] * 6, places)]
    for number, box in enumerate(boxes):
        assert box.common(PLOT) == pytest.approx(box.common(box))
        assert all(box.common(other) == 0 for other in boxes[:number])


@given(st.lists(st.tuples(st.floats(70, 420), st.floats(20, 270)), min_size=1, max_size=4))
def test_labels_of_a_few_points_never_meet(places: list[tuple[float, float]]) -> None:
    boxes = [label.box for label in labelled([f"codec {n}" for n in range(len(places))], places)]
    for number, box in enumerate(boxes):
        assert all(box.common(other) == 0 for other in boxes[:number])


def test_boxes_have_in_common_what_both_cover() -> None:
    assert Box(0, 0, 4, 4).common(Box(3, 2, 9, 9)) == 2
    assert Box(0, 0, 4, 4).common(Box(4, 0, 9, 9)) == 0


def test_small_and_fast_is_below_and_to_the_left() -> None:
    good, bad = scatter("", [Timed("a", True, 100, 1), Timed("b", False, 900, 9)]).points
    assert good.x < bad.x
    assert good.y > bad.y  # y runs down


# Circumstances -----------------------------------------------------------------------------------


def test_circumstances_say_what_seconds_depend_on() -> None:
    found = machine.circumstances({**COMPUTE, "threads": 3})
    assert found["threads of pixelcodec"] == "3"
    assert found["device of pixelcodec"] == "cpu"
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d [+-]\d{4}$", found["date"])
    for library in ("pixelcodec", "Python", "torch", "NumPy"):
        assert re.search(rf"{library} \d", found["versions"])


@pytest.mark.parametrize(("load", "told"), [(0.1, "next to idle"), (2.0, "other work was running")])
def test_a_busy_machine_is_told(load: float, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0, 0), raising=False)
    assert told in machine.circumstances(COMPUTE)["load before"]


# The command -------------------------------------------------------------------------------------


@pytest.fixture
def photo(folder: Path) -> Path:
    return save(scene(10, 12, 3), "photo.png")


@pytest.mark.usefixtures("folder")
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
def test_compare_writes_a_page() -> None:
    save(scene(10, 12, 3), NASTY)
    result = run("compare", NASTY, "-e", 1, "--html", "report.html")
    assert result.exit_code == 0, result.output
    assert NASTY in result.stdout  # the table is there as ever
    found = Page(Path("report.html").read_text(encoding="utf-8"))
    assert found.texts("h3") == [NASTY]
    assert len(found.all("img")) == 2


OTHERS = "WebP lossless, JPEG XL e7, JPEG XL e9"


def test_codecs_that_do_not_hold_an_image_are_named(photo: Path) -> None:
    bilevel = save(scene(9, 7) > 100, "bilevel.png")

    result = run("compare", photo, bilevel, "-e", 1, "--html", "report.html")

    first, second, total = result.stdout.split("\n\n")
    assert "without" not in first
    assert second.endswith(f"\n  without {OTHERS}: not for bilevel images")
    assert total.endswith(f"\n  without {OTHERS}: not measured on all images\n")
    page = Page(Path("report.html").read_text())
    assert f"; without {OTHERS}: not for bilevel images" in page.text
    assert f"; without {OTHERS}: not measured on all images." in page.text


@pytest.mark.usefixtures("folder")
def test_codecs_left_out_are_in_json() -> None:
    deep = save(scene(9, 7).astype(np.uint16) * 256, "deep.png")

    found = json.loads(run("compare", deep, "-e", 1, "--json").stdout)

    assert found["images"][0]["left_out"] == ["WebP lossless"]


def test_bits_a_sample_of_a_palette_are_those_of_encode(folder: Path) -> None:
    Image.fromarray(scene(40, 40, 3)).quantize(64).save("palette.png")

    compared = run("compare", "palette.png", "-e", 1).stdout
    encoded = run("encode", "palette.png", "-e", 1).stderr

    assert compared.startswith("palette.png: 40x40 palette\n")
    (bpsp,) = re.findall(r"([\d.]+) bpsp", encoded)
    assert re.search(rf"pixelcodec e1 +[\d,]+ +{bpsp} ", compared)


def test_compare_prints_json(photo: Path) -> None:
    other = save(scene(9, 7), "other.png")
    result = run("compare", photo, other, "missing.png", "-m", "photo-s", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [
        (image["file"], image["width"], image["height"], image["channels"])
        for image in found["images"]
    ] == [("photo.png", 12, 10, 3), ("other.png", 7, 9, 1)]
    raw, *_, ours = found["images"][0]["results"]
    assert raw == {
        "codec": "raw",
        "bytes": 360,
        "bpsp": 8.0,
        "ratio": pytest.approx(360 / found["images"][0]["results"][2]["bytes"]),
        "encode_seconds": None,
        "decode_seconds": None,
    }
    assert ours["codec"] == "pixelcodec photo-s"
    assert ours["bpsp"] == 8 * ours["bytes"] / 360
    assert found["totals"][0]["bytes"] == 360 + 63
    assert "pixelcodec photo-s" in found["codecs"]
    assert found["circumstances"]["device of pixelcodec"]
    assert len(found["failures"]) == 1
    assert "missing.png" in found["failures"][0]


def test_a_page_is_not_overwritten(photo: Path) -> None:
    Path("report.html").write_text("precious")
    result = run("compare", photo, "-m", "photo-s", "--html", "report.html")
    assert_fails_in_one_line(result, "report.html")
    assert result.stdout == ""  # it was found out before the work
    assert Path("report.html").read_text() == "precious"
