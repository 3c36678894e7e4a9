"""How the golden files were made. What they hold must never change, so nothing is overwritten.

In ``tests/``: ``python -m golden.make``. It makes:

* ``tiny.safetensors``: a small random network whose values often meet their limits, so that the
  files are long, not short, and every branch of the arithmetic counts. Another version of PyTorch
  may draw other random numbers, but the files below only need this one network;
* ``rgb.png``, ``gray.png``, ``dot.png``: noise, slopes and extremes side by side, and one pixel;
* ``NAME.pxc`` for each entry of :data:`STREAMS`: one of the images, encoded by the network.

New golden files are added under new names; the old ones stay.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from coding import Samples, encode, random_network
from pixelcodec.engine import Engine
from pixelcodec.models.pixelcnn import Config
from pixelcodec.models.zoo import load_file, save_network

FOLDER = Path(__file__).parent
MODEL = FOLDER / "tiny.safetensors"

STREAMS = {
    "dot": ("dot", 1, False),
    "gray": ("gray", 9, False),
    "rgb": ("rgb", 17, False),
    "rgb-strips": ("rgb", 5, False),
    "rgb-restart": ("rgb", 7, True),
}
"""For each stream its image, the rows of a strip, and whether strips are independent."""


def image(name: str) -> Samples:
    """Return the image ``name``."""
    if name == "dot":
        return np.array([[[7, 200, 131]]], np.uint8)
    height, width, channels = {"rgb": (17, 24, 3), "gray": (9, 31, 1)}[name]
    y, x, c = np.indices((height, width, channels))
    made: Samples = (9 * y + 5 * x + 70 * c).astype(np.uint8)  # a slope that passes from 255 to 0
    noise = np.random.default_rng(1).integers(0, 256, made.shape, dtype=np.uint8)
    third = width // 3
    made[:, third : 2 * third] = noise[:, third : 2 * third]
    made[:, 2 * third :] = np.where(noise[:, 2 * third :] < 128, 0, 255)
    made[height // 2 :, 2 * third :] //= 2
    return made if channels == 3 else made[:, :, 0]


def missing(path: Path) -> bool:
    """Tell whether there is no file at ``path`` yet, and say so."""
    print(path.name, "is kept" if path.exists() else "is made")
    return not path.exists()


def main() -> None:
    """Make what is missing, in the order in which one thing needs another."""
    if missing(MODEL):
        config = Config(width=16, hidden=16, blocks=2, head=8, components=3)
        save_network(random_network(config, seed=1, gain=3.0), MODEL)
    network = load_file(MODEL)
    engine = Engine(network, "int64")
    for name in ("rgb", "gray", "dot"):
        picture = FOLDER / f"{name}.png"
        if missing(picture):
            Image.fromarray(image(name)).save(picture)
    for name, (source, strip_rows, restart) in STREAMS.items():
        stream = FOLDER / f"{name}.pxc"
        if missing(stream):
            samples = np.asarray(Image.open(FOLDER / f"{source}.png"))
            stream.write_bytes(encode(samples, network, engine, strip_rows, restart))


if __name__ == "__main__":
    main()
