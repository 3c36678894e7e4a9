"""How the golden files were made. What they hold must never change, so nothing is overwritten.

In ``tests/``: ``python -m golden.make``. It makes:

* ``MODEL.safetensors`` for each entry of :data:`MODELS`: small random networks whose values often
  meet their limits, so that the files are long, not short, and every branch of the arithmetic
  counts. Another version of PyTorch may draw other random numbers, but the files below only need
  these very networks;
* ``IMAGE.png``: noise, slopes and extremes side by side, one pixel, two, and four;
* ``NAME.pxc`` for each entry of :data:`STREAMS`: one of the images, encoded by one of the networks;
* ``NAME.png`` and ``NAME.pxc`` for each entry of :data:`PICTURES`: images of other kinds, with
  metadata. Another version of zlib or libwebp may write other bytes; these must decode for ever.
* ``shipped-MODEL.pxc`` for each entry of :data:`SHIPPED`: one of the images, by an installed model.

New golden files are added under new names; the old ones stay.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import pixelcodec
from coding import Samples, encode, randomised
from pixelcodec import adaptation
from pixelcodec.adaptation import adapted
from pixelcodec.effort import Effort
from pixelcodec.engine import Engine
from pixelcodec.models.architectures import FloatNetwork
from pixelcodec.models.changes import Change, parts_of
from pixelcodec.models.diagonal_bilstm import DiagonalBiLSTM, DiagonalConfig
from pixelcodec.models.graphics import Config as GraphicsConfig
from pixelcodec.models.graphics_training import Graphics
from pixelcodec.models.multi_scale import MultiScale, MultiScaleConfig
from pixelcodec.models.network import IntegerNetwork
from pixelcodec.models.paper import PaperConfig
from pixelcodec.models.pixelcnn import PixelCNN
from pixelcodec.models.row_lstm import RowConfig, RowLSTM
from pixelcodec.models.wavefront_gray import Config as GrayConfig
from pixelcodec.models.wavefront_gray import WavefrontGray
from pixelcodec.models.wavefront_pixelcnn import Config, WavefrontPixelCNN
from pixelcodec.models.zoo import load_file, save_network
from pixelcodec.pictures import Chunk, Picture, read_picture, write_picture

FOLDER = Path(__file__).parent

MODELS: dict[str, Callable[[], FloatNetwork]] = {
    "tiny": lambda: WavefrontPixelCNN(Config(width=16, hidden=16, blocks=2, head=8, components=3)),
    "gray-16": lambda: WavefrontGray(
        GrayConfig(width=8, hidden=8, blocks=2, head=6, components=3, bit_depth=16)
    ),
    "gray-8": lambda: WavefrontGray(
        GrayConfig(width=5, hidden=7, blocks=1, head=4, components=7, bit_depth=8)
    ),
    "graphics": lambda: Graphics(GraphicsConfig(hidden=6, head=5, components=3)),
    "pixelcnn-rgb": lambda: PixelCNN(PaperConfig(hidden=7, layers=2, head=5)),
    "pixelcnn-bilevel": lambda: PixelCNN(
        PaperConfig(channels=1, bit_depth=1, hidden=4, layers=2, head=3, skip=True)
    ),
    "row-lstm-rgb": lambda: RowLSTM(RowConfig(hidden=4, layers=2, head=3)),
    "row-lstm-bilevel": lambda: RowLSTM(
        RowConfig(channels=1, bit_depth=1, hidden=3, layers=1, head=3, residual=False, skip=True)
    ),
    "diagonal-bilstm-rgb": lambda: DiagonalBiLSTM(
        DiagonalConfig(hidden=4, layers=2, head=3, residual=False, skip=True, tile=0)
    ),
    "diagonal-bilstm-bilevel": lambda: DiagonalBiLSTM(
        DiagonalConfig(channels=1, bit_depth=1, hidden=3, layers=1, head=3, tile=2)
    ),
    "multi-scale-rgb": lambda: MultiScale(
        MultiScaleConfig(hidden=4, layers=2, head=3, step=2, maps=3)
    ),
    "multi-scale-bilevel": lambda: MultiScale(
        MultiScaleConfig(channels=1, bit_depth=1, hidden=3, layers=1, head=3, step=4, maps=3)
    ),
}
"""The float network of each model."""


@dataclass(frozen=True)
class Stream:
    """How a stream was written."""

    image: str
    model: str
    strip_rows: int
    restart: bool = False
    tile: int = 0
    changed: bool = False
    learning: int = 0

    @property
    def cut(self) -> tuple[int, bool, int]:
        """Rows of a strip, whether strips are independent, and the side of tiles."""
        return self.strip_rows, self.restart, self.tile


STREAMS = {
    "dot": Stream("dot", "tiny", 1),
    "gray": Stream("gray", "tiny", 9),
    "rgb": Stream("rgb", "tiny", 17),
    "rgb-strips": Stream("rgb", "tiny", 5),
    "rgb-restart": Stream("rgb", "tiny", 7, restart=True),
    "rgb-tiles": Stream("rgb", "tiny", 10, tile=5),
    "rgb-changed": Stream("rgb", "tiny", 9, changed=True),
    "gray-learning": Stream("large-gray", "tiny", 34, learning=15),
    "rgb-learning": Stream("large", "tiny", 41, learning=2),
    "rgb-learning-strips": Stream("large", "tiny", 13, learning=6),
    "rgb-learning-restart": Stream("large", "tiny", 20, restart=True, learning=4),
    "rgb-learning-tiles": Stream("large", "tiny", 28, tile=14, learning=9),
    "rgb-learning-changed": Stream("large", "tiny", 41, changed=True, learning=8),
    "gray-seeing": Stream("large-gray", "tiny", 34, learning=1),
    "rgb-seeing-strips": Stream("large", "tiny", 13, learning=1),
    "rgb-seeing-tiles": Stream("large", "tiny", 28, tile=14, learning=1),
    "rgb-seeing-changed": Stream("large", "tiny", 20, restart=True, changed=True, learning=1),
    "gray-16": Stream("deep", "gray-16", 15),
    "gray-16-learning": Stream("deep", "gray-16", 21, learning=8),
    "gray-16-restart": Stream("deep", "gray-16", 8, restart=True),
    "gray-8": Stream("gray", "gray-8", 4),
    "gray-8-seeing": Stream("gray", "gray-8", 9, learning=1),
    "gray-8-learning": Stream("large-gray", "gray-8", 34, tile=17, learning=6),
    "graphics": Stream("rgb", "graphics", 17),
    "graphics-learning": Stream("large", "graphics", 41, learning=6),
    "graphics-seeing": Stream("rgb", "graphics", 17, learning=1),
    "graphics-restart": Stream("large", "graphics", 20, restart=True, learning=2),
    "graphics-strips": Stream("large-gray", "graphics", 13),
    "graphics-tiles": Stream("large-gray", "graphics", 34, tile=17, learning=9),
    "pixelcnn-rgb": Stream("rgb", "pixelcnn-rgb", 9),
    "pixelcnn-dots": Stream("dots", "pixelcnn-bilevel", 1),
    "pixelcnn-tiles": Stream("bilevel", "pixelcnn-bilevel", 12, tile=6),
    "pixelcnn-stacks": Stream("bilevel", "pixelcnn-bilevel", 48, tile=2),
    "row-lstm-rgb": Stream("rgb", "row-lstm-rgb", 9),
    "row-lstm-square": Stream("square", "row-lstm-bilevel", 2),
    "row-lstm-tiles": Stream("bilevel", "row-lstm-bilevel", 12, tile=6),
    "diagonal-bilstm-rgb": Stream("patch", "diagonal-bilstm-rgb", 4),
    "diagonal-bilstm-restart": Stream("patch", "diagonal-bilstm-rgb", 6, restart=True),
    "diagonal-bilstm-square": Stream("square", "diagonal-bilstm-bilevel", 2),
    "diagonal-bilstm-stacks": Stream("bilevel", "diagonal-bilstm-bilevel", 48, tile=2),
    "multi-scale-rgb": Stream("patch", "multi-scale-rgb", 4),
    "multi-scale-restart": Stream("patch", "multi-scale-rgb", 6, restart=True),
    "multi-scale-tiles": Stream("patch", "multi-scale-rgb", 8, tile=4),
    "multi-scale-square": Stream("square", "multi-scale-bilevel", 4),
    "multi-scale-strips": Stream("bilevel", "multi-scale-bilevel", 12),
    "multi-scale-stacks": Stream("bilevel", "multi-scale-bilevel", 48, tile=8),
}

PICTURES = {
    "alpha-dot": Stream("alpha-dot", "tiny", 1),
    "bits": Stream("bits", "standard", 13),
    "gray-2": Stream("gray-2", "standard", 5),
    "palette": Stream("palette", "standard", 13),
    "palette-by-model": Stream("palette-by-model", "tiny", 6, restart=True),
    "gray-alpha": Stream("gray-alpha", "tiny", 8, tile=4),
    "rgba": Stream("rgba", "photo-s", 9, learning=2),
    "rgba-16": Stream("rgba-16", "standard", 9),
    "rgb-16": Stream("rgb-16", "gray-16", 13, learning=2),
    "rgba-16-planes": Stream("rgba-16", "gray-16", 6, restart=True, learning=2),
    "levels": Stream("levels", "gray-16", 8, learning=2),
    "palette-order": Stream("palette-order", "graphics", 13, learning=1),
    "palette-order-standard": Stream("palette-order", "standard", 13),
    "opaque": Stream("opaque", "standard", 13),
    "webp-and-png": Stream("webp-and-png", "standard", 16),
}
"""Here ``standard`` is no model, and ``photo-s`` one that everybody has."""

SHIPPED = {
    "photo-s": "rgb",
    "photo-m": "rgb",
    "graphics": "rgb",
    "science-8": "gray",
    "science-16": "deep",
    "cifar-pixelcnn": "patch",
    "cifar-row-lstm": "patch",
    "cifar-diagonal-bilstm": "patch",
    "cifar-multi-scale": "patch",
    "mnist-pixelcnn": "bilevel",
    "mnist-row-lstm": "bilevel",
    "mnist-diagonal-bilstm": "bilevel",
    "mnist-multi-scale": "bilevel",
}
"""The image that each model of :mod:`pixelcodec.models.zoo` codes, learning where it can."""


def image(name: str) -> Samples:
    """Return the image ``name``."""
    if name == "dot":
        return np.array([[[7, 200, 131]]], np.uint8)
    if name == "dots":
        return np.array([[True, False]])
    if name == "square":
        return np.array([[True, False], [False, True]])
    if name == "deep":
        shades = image("large-gray")[:21].astype(np.uint16)
        return shades << (np.arange(50, dtype=np.uint16) % 17 // 2)
    height, width, channels = {
        "rgb": (17, 24, 3),
        "large": (41, 47, 3),
        "large-gray": (34, 50, 1),
        "patch": (11, 9, 3),
        "gray": (9, 31, 1),
        "bilevel": (47, 47, 1),
    }[name]
    y, x, c = np.indices((height, width, channels))
    made: Samples = (9 * y + 5 * x + 70 * c).astype(np.uint8)  # a slope that passes from 255 to 0
    noise = np.random.default_rng(1).integers(0, 256, made.shape, dtype=np.uint8)
    third = width // 3
    made[:, third : 2 * third] = noise[:, third : 2 * third]
    made[:, 2 * third :] = np.where(noise[:, 2 * third :] < 128, 0, 255)
    made[height // 2 :, 2 * third :] //= 2
    made = made >= 127 if name == "bilevel" else made
    return made if channels == 3 else made[:, :, 0]


def picture(name: str) -> Picture:
    """Return the picture ``name``."""
    gamma, text = Chunk(b"gAMA", (45455).to_bytes(4, "big")), Chunk(b"tEXt", b"Title\0golden")
    long_text = Chunk(b"tEXt", b"Comment\0" + 30 * b"what is deflated is shorter, ")
    last = Chunk(b"tEXt", b"Title\0last", after=True)
    palette, clear = Chunk(b"PLTE", bytes(range(200, 236))), Chunk(b"tRNS", bytes([0, 255, 128]))
    colours = Chunk(b"PLTE", np.random.default_rng(1).integers(0, 256, 90, np.uint8).tobytes())
    fading = Chunk(b"tRNS", bytes(range(250, 230, -1)))
    if name == "alpha-dot":
        return Picture(np.array([[[7, 200]]], np.uint8), 8, (gamma, last))
    if name == "opaque":
        samples = mixed(4, 8)
        samples[:, :, 3] = 255
        return Picture(samples, 8)
    if name == "webp-and-png":
        # WebP is shorter of the first strip, PNG of the second: a little noise in equal rows.
        noise = np.random.default_rng(1).integers(0, 256, 24 * 3, np.uint8)
        return Picture(np.concatenate([mixed(3, 8, 16), np.resize(noise, (16, 24, 3))]), 8)
    if name == "rgb-16":
        samples = mixed(3, 16)
        samples[:, :, 0] = samples[:, :, 1] + samples[:, :, 0] // 256  # beyond the end, too
        samples[:, :, 2] = samples[:, :, 2] % 5  # not less green
        return Picture(samples, 16, (gamma,))
    if name == "levels":
        return Picture(mixed(3, 8).astype(np.uint16) * 257, 16, (long_text,))
    channels, bit_depth, chunks = {
        "bits": (1, 1, (Chunk(b"pHYs", bytes([0, 0, 11, 19, 0, 0, 11, 19, 1])),)),
        "gray-2": (1, 2, (Chunk(b"tRNS", b"\0\2"), long_text)),
        "palette": (1, 4, (palette, clear, text)),
        "palette-by-model": (1, 8, (palette, long_text)),
        "palette-order": (1, 8, (colours, fading)),
        "gray-alpha": (2, 8, ()),
        "rgba": (4, 8, (gamma, long_text)),
        "rgba-16": (4, 16, (gamma, last)),
    }[name]
    samples = mixed(channels, bit_depth)
    if palette in chunks or colours in chunks:
        samples %= 12 if palette in chunks else 33  # three of these have no colour
    return Picture(samples, bit_depth, chunks)


def mixed(channels: int, bit_depth: int, height: int = 13) -> Samples:
    """Return slopes and noise side by side, [``height``, 24, ``channels``]."""
    y, x, c = np.indices((height, 24, channels))
    slopes = (9 * y + 5 * x + 70 * c) << bit_depth >> 8
    noise = np.random.default_rng(1).integers(0, 1 << bit_depth, slopes.shape)
    made: Samples = np.where(x < 15, slopes % (1 << bit_depth), noise)
    return made.astype(np.uint16 if bit_depth == 16 else np.uint8)


def model_named(name: str) -> str:
    """Return what the codec calls the model ``name``: its file, if it is golden."""
    return str(FOLDER / f"{name}.safetensors") if name in MODELS else name


def network_of(stream: Stream) -> tuple[IntegerNetwork, bytes]:
    """The network of a stream as it shipped, and its changes."""
    network = load_file(FOLDER / f"{stream.model}.safetensors")
    return network, adaptation.pack(network, changes_of(network)) if stream.changed else b""


def changes_of(network: IntegerNetwork) -> list[Change]:
    """Return changes of many kinds: none, few and many, small and large."""
    rng = np.random.default_rng(1)
    found = []
    for index, (layer, part, before) in enumerate(parts_of(network)):
        reach, share = [(1, 0.1), (3, 0.5), (60, 1.0), (0, 0.0)][index % 4]
        values = rng.integers(-reach, reach + 1, tuple(before.shape))
        values *= rng.random(values.shape) < share
        if part == "weight":
            room = 127 - abs(before.numpy().astype(np.int64))
            values = np.clip(values, -room, room)
        if reach:
            found.append(Change(layer, part, index % 5 * (part == "bias"), values.astype(np.int8)))
    return found


def missing(path: Path) -> bool:
    """Tell whether there is no file at ``path`` yet, and say so."""
    print(path.name, "is kept" if path.exists() else "is made")
    return not path.exists()


def main() -> None:
    """Make what is missing, in the order in which one thing needs another."""
    for name, make in MODELS.items():
        model = FOLDER / f"{name}.safetensors"
        if missing(model):
            save_network(randomised(make, seed=1, gain=3.0).integer_network(), model)
    for name in sorted({stream.image for stream in STREAMS.values()}):
        source = FOLDER / f"{name}.png"
        if missing(source):
            Image.fromarray(image(name)).save(source)
    for name, how in STREAMS.items():
        stream = FOLDER / f"{name}.pxc"
        if missing(stream):
            network, changes = network_of(how)
            samples = read_picture(FOLDER / f"{how.image}.png").to_array()
            engine = Engine(adapted(network, changes) if changes else network, "int64")
            data = encode(samples, network, engine, *how.cut, changes, how.learning)
            stream.write_bytes(data)
    for name, how in PICTURES.items():
        source, stream = FOLDER / f"{how.image}.png", FOLDER / f"{name}.pxc"
        if missing(source):
            write_picture(picture(how.image), source)
        if missing(stream):
            written = pixelcodec.encode(
                read_picture(source),
                model=model_named(how.model),
                strip_rows=how.strip_rows,
                restart=how.restart,
                tile=how.tile,
                effort=Effort(how.model, how.learning),
            )
            stream.write_bytes(written)
    for model, name in SHIPPED.items():
        stream = FOLDER / f"shipped-{model}.pxc"
        if missing(stream):
            stream.write_bytes(pixelcodec.encode(read_picture(FOLDER / f"{name}.png"), model=model))


if __name__ == "__main__":
    main()
