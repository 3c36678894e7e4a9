"""Every kind of image through the commands: pixels, kind and metadata come back as they were."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from commands import M, assert_fails_in_one_line, run
from pictures import noise, scene
from pixelcodec import api
from pixelcodec.parallel import StripTask, StripWorker
from pixelcodec.pictures import Chunk, Picture, Samples, read_picture, write_picture
from pixelcodec.progress import Count

pytestmark = pytest.mark.usefixtures("tiny")

TEXT = Chunk(b"tEXt", b"Comment\0what a day")
LATE = Chunk(b"tEXt", b"Comment\0and then", after=True)
RESOLUTION = Chunk(b"pHYs", bytes([0, 0, 11, 19, 0, 0, 11, 19, 1]))
PALETTE = Chunk(b"PLTE", bytes(range(48)))

PICTURES = {
    "bilevel": Picture(noise(9, 7, 1) & 1, 1, (TEXT,)),
    "2-bit gray": Picture(noise(9, 7, 1) & 3, 2),
    "4-bit palette": Picture(noise(9, 7, 1) & 15, 4, (PALETTE, Chunk(b"tRNS", b"\0\x80"))),
    "8-bit gray": Picture(scene(9, 7)[..., None], 8, (RESOLUTION, LATE)),
    "8-bit RGB": Picture(scene(9, 7, 3), 8, (TEXT, RESOLUTION)),
    "8-bit RGB with alpha": Picture(noise(9, 7, 4), 8, (TEXT,)),
    "16-bit gray with alpha": Picture(noise(9, 7, 2).astype("u2") * 257, 16),
    "16-bit RGB": Picture(noise(9, 7, 3).astype("u2") * 256 + 1, 16, (LATE,)),
}


def model(picture: Picture) -> tuple[str, ...]:
    """A small one, where the default would be a large one."""
    return M if picture.bit_depth == 8 and not picture.is_palette else ()


@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_comes_back_with_its_metadata(kind: str) -> None:
    picture = PICTURES[kind]
    write_picture(picture, "photo.png")

    assert run("encode", "photo.png", *model(picture)).exit_code == 0
    assert run("verify", "photo.pxc", "photo.png", *model(picture)).exit_code == 0
    assert run("decode", "photo.pxc", "-o", "back.png", *model(picture)).exit_code == 0
    assert picture.kind == kind
    assert read_picture("back.png") == picture


def test_what_a_format_cannot_hold_of_the_metadata_is_said() -> None:
    write_picture(PICTURES["8-bit RGB"], "photo.png")
    run("encode", "photo.png", *M)

    result = run("decode", "photo.pxc", "-o", "back.ppm", *M)

    assert result.exit_code == 0
    assert result.stderr == (
        "back.ppm: all pixels, but without the metadata pHYs, tEXt, which png can hold\n"
    )


def test_verify_compares_the_metadata_too() -> None:
    write_picture(PICTURES["8-bit RGB"], "photo.png")
    run("encode", "photo.png", *M)
    write_picture(Picture(PICTURES["8-bit RGB"].samples, 8, (RESOLUTION,)), "bare.png")

    result = run("verify", "photo.pxc", "bare.png", *M)

    assert_fails_in_one_line(result, "photo.pxc")
    assert "the pixels are equal, the metadata are not: tEXt" in result.stderr


@pytest.fixture
def with_iptc() -> Path:
    """A TIFF with metadata that have no place in a PNG."""
    tifffile.imwrite(
        "photo.tif",
        PICTURES["8-bit RGB"].samples,
        photometric="rgb",
        metadata=None,
        extratags=[(33723, "B", 8, bytes(8), True), (65000, "H", 1, 1, True)],
    )
    return Path("photo.tif")


NOT_KEPT = "not kept: IPTC, 1 private TIFF tag"


def test_metadata_that_are_not_kept_are_named(with_iptc: Path) -> None:
    result = run("encode", with_iptc, *M)

    assert result.exit_code == 0
    first, second = result.stderr.splitlines()
    assert first == f"photo.tif: {NOT_KEPT}"
    assert second.startswith("photo.pxc: ")


def test_quiet_names_no_metadata(with_iptc: Path) -> None:
    assert run("encode", "-q", with_iptc, *M).output == ""


@pytest.mark.parametrize(("name", "said"), [("photo.jpg", True), ("photo.webp", False)])
def test_of_a_jpeg_that_became_larger_it_is_said_so(name: str, said: bool) -> None:
    Image.fromarray(scene(60, 70, 3)).save(name, quality=50)

    result = run("encode", name, *M)

    assert Path("photo.pxc").stat().st_size > Path(name).stat().st_size
    of_the_source = r"\d+\.\d% of the source file"
    note = "; larger than the JPEG, which is worth keeping" if said else ""
    assert re.search(f"{of_the_source}{note}$", result.stderr)


def test_verify_names_metadata_that_are_not_kept(with_iptc: Path) -> None:
    run("encode", with_iptc, *M)

    result = run("verify", "photo.pxc", with_iptc, *M)

    assert result.exit_code == 0
    assert result.stdout == f"photo.pxc: identical to photo.tif, but for what is {NOT_KEPT}\n"


def test_a_preview_is_never_taken_for_the_image(folder: Path) -> None:
    with tifffile.TiffWriter("raw.tif") as writer:
        writer.write(scene(9, 7, 3), photometric="rgb", subifds=1, subfiletype=1)
        writer.write(noise(90, 70).astype("u2"), photometric="minisblack")

    result = run("encode", "raw.tif", *M)

    assert_fails_in_one_line(result, "raw.tif")
    assert "camera raw files and pyramids hold more images than one" in result.stderr


def test_what_is_invisible_is_discarded_on_demand_and_said() -> None:
    samples = noise(9, 7, 4)
    samples[..., 3] = np.where(np.indices((9, 7))[0] < 2, 0, 255)
    write_picture(Picture(samples, 8, (TEXT,)), "photo.png")

    said = run("encode", "photo.png", "--discard-invisible", *M).stderr
    result = run("verify", "photo.pxc", "photo.png", *M)

    changed = re.search(r"; not identical: (\d+) invisible pixels changed\n$", said)
    assert changed
    assert_fails_in_one_line(result, "photo.pxc")
    assert f"{changed[1]} pixels, all of them invisible (alpha 0), first at x=" in result.stderr


@pytest.mark.parametrize("alpha", [255, 1])
def test_where_all_is_visible_nothing_is_discarded(alpha: int) -> None:
    write_picture(Picture(np.full((9, 7, 4), alpha, np.uint8), 8), "photo.png")

    assert "not identical" not in run("encode", "photo.png", "--discard-invisible", *M).stderr
    assert run("verify", "photo.pxc", "photo.png", *M).exit_code == 0


def test_verify_tells_what_is_visible_from_what_is_not() -> None:
    samples = noise(9, 7, 4) | 1
    write_picture(Picture(samples, 8), "photo.png")
    samples[0, 0] ^= 254
    write_picture(Picture(samples, 8), "other.png")
    run("encode", "photo.png", *M)

    assert "invisible" not in run("verify", "photo.pxc", "other.png", *M).stderr


def test_verify_tells_kinds_apart() -> None:
    samples = noise(9, 7, 1) & 1
    write_picture(Picture(samples, 1), "bilevel.png")
    write_picture(Picture(samples, 8), "gray.png")
    run("encode", "bilevel.png")

    result = run("verify", "bilevel.pxc", "gray.png")

    assert_fails_in_one_line(result, "bilevel.pxc")
    assert "bilevel, not 8-bit gray" in result.stderr


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("4-bit palette", ["  image   7x9 palette, 4-bit", "  chunks  PLTE 48, tRNS 2 bytes"]),
        ("8-bit RGB with alpha", ["  image   7x9 RGBA, 8-bit", "  alpha   standard"]),
        ("16-bit RGB", ["  image   7x9 RGB, 16-bit", "  model   standard ("]),
    ],
)
def test_info_names_kinds_and_chunks(kind: str, lines: list[str]) -> None:
    write_picture(PICTURES[kind], "photo.png")
    run("encode", "photo.png", *model(PICTURES[kind]))

    shown = run("info", "photo.pxc").stdout

    assert all(f"\n{line}" in shown for line in lines)


def test_the_metadata_in_json_have_types_and_bytes() -> None:
    write_picture(PICTURES["4-bit palette"], "photo.png")
    run("encode", "photo.png")

    (facts,) = json.loads(run("info", "--json", "photo.pxc").stdout)

    assert facts["metadata"] == [{"type": "PLTE", "bytes": 48}, {"type": "tRNS", "bytes": 2}]


# Parts of images ---------------------------------------------------------------------------------


@pytest.fixture
def strips() -> Picture:
    """An image of 10 rows and 8 columns, in photo.pxc, in independent strips of 4 rows."""
    picture = Picture(scene(10, 8, 3), 8, (TEXT,))
    write_picture(picture, "photo.png")
    assert run("encode", "photo.png", "--strip-rows", 4, "--restart", *M).exit_code == 0
    return picture


def test_info_says_that_strips_are_independent(strips: Picture) -> None:
    assert "  strips  3 of 4 rows, independent\n" in run("info", "photo.pxc").stdout


@pytest.mark.parametrize(
    ("left", "top", "width", "height"), [(0, 0, 8, 10), (2, 5, 3, 2), (7, 9, 1, 1)]
)
def test_a_region_is_decoded_by_itself(
    strips: Picture, left: int, top: int, width: int, height: int
) -> None:
    region = f"{left},{top},{width},{height}"

    assert run("decode", "photo.pxc", "--region", region, "-o", "part.png", *M).exit_code == 0
    part = read_picture("part.png")
    assert np.array_equal(part.samples, strips.samples[top : top + height, left : left + width])
    assert part.chunks == strips.chunks


@pytest.mark.parametrize("kind", ["bilevel", "4-bit palette"])
def test_a_region_keeps_kind_and_palette(kind: str) -> None:
    write_picture(PICTURES[kind], "photo.png")
    run("encode", "photo.png")

    run("decode", "photo.pxc", "--region", "1,2,3,4", "-o", "part.png")

    part = read_picture("part.png")
    assert (part.kind, part.chunks) == (kind, PICTURES[kind].chunks)
    assert np.array_equal(part.samples, PICTURES[kind].samples[2:6, 1:4])


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In how many processes strips are to be decoded, each time; they are in this one."""
    found: list[int] = []

    def decode_here(
        worker: StripWorker, tasks: list[StripTask], count: int, progress: Count
    ) -> list[Samples]:
        found.append(count)
        return [worker(task, progress) for task in tasks]

    monkeypatch.setattr(api, "decode_strips", decode_here)
    return found


@pytest.mark.parametrize(("asked", "given"), [(1, []), (2, [2]), (9, [3])])
def test_jobs_of_one_file_are_for_its_strips(
    asked: int, given: list[int], strips: Picture, jobs: list[int]
) -> None:
    assert run("decode", "photo.pxc", "-j", asked, "-o", "back.png", *M).exit_code == 0
    assert read_picture("back.png") == strips
    assert jobs == given


def test_jobs_are_for_the_strips_of_a_region(strips: Picture, jobs: list[int]) -> None:
    run("decode", "photo.pxc", "-j", 9, "--region", "0,5,3,5", "-o", "part.png", *M)

    assert np.array_equal(read_picture("part.png").samples, strips.samples[5:, :3])
    assert jobs == [2]


def test_strips_that_need_others_are_decoded_in_one_process(
    strips: Picture, jobs: list[int]
) -> None:
    run("encode", "photo.png", "--strip-rows", 4, "-f", *M)

    run("decode", "photo.pxc", "-j", 2, "-o", "back.png", *M)

    assert read_picture("back.png") == strips
    assert jobs == []


def test_a_region_must_be_inside(strips: Picture) -> None:
    result = run("decode", "photo.pxc", "--region", "5,5,4,4", "-o", "part.png", *M)

    assert_fails_in_one_line(result, "photo.pxc")
    assert not Path("part.png").exists()


@pytest.mark.parametrize("region", ["1,2,3", "1,2,3,0", "-1,2,3,4", "a,b,c,d", "1,2,3,4,5"])
def test_a_region_is_four_numbers(region: str) -> None:
    result = run("decode", "photo.pxc", "--region", region)

    assert result.exit_code == 2
    assert "is not X,Y,W,H" in result.stderr


def test_a_region_is_no_preview() -> None:
    assert run("decode", "photo.pxc", "--region", "0,0,1,1", "--preview").exit_code == 2
