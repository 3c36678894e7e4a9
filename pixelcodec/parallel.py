"""Independent strips decoded side by side, in processes: networks hold Python's lock too much."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from pixelcodec.container import Header
from pixelcodec.pictures import Samples
from pixelcodec.runtime import Compute, engines_of
from pixelcodec.strips import Count, ImageDecoder


@dataclass(frozen=True)
class StripTask:
    """A strip to decode.

    Attributes:
        parts: of the strip.
        height: its rows.
    """

    parts: Sequence[bytes]
    height: int


@dataclass(frozen=True)
class StripWorker:
    """Decodes independent strips of an image; it can be sent to another process.

    Attributes:
        header: of the image.
        model: as :func:`pixelcodec.decode` takes it.
        compute: how it runs.
    """

    header: Header
    model: str | None
    compute: Compute

    def decoder(self) -> ImageDecoder:
        """Make ready to decode.

        Raises:
            FormatError: the header does not suit the models.
            ModelError: a model is not installed, or did not write the file.
            BackendError: the back end or device cannot be used.
        """
        engines = engines_of(self.header, self.model, self.compute)
        return ImageDecoder(self.header, engines)

    def __call__(self, task: StripTask) -> Samples:
        """Decode one strip: uint8 or uint16 [height, width, channels]."""
        with self.compute.running():
            return self.decoder().decode(task.parts, task.height, lambda pixels: None)


def decode_strips(
    worker: StripWorker, tasks: Iterable[StripTask], jobs: int, progress: Count
) -> Iterator[Samples]:
    """Decode strips in ``jobs`` processes, and give them in order.

    The main module of the program is imported in each process, so a script that calls this must
    guard what it does by ``if __name__ == "__main__"``.
    """
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for strip in pool.map(worker, tasks):
            progress(strip.shape[0] * strip.shape[1])
            yield strip
