"""Independent strips decoded side by side, in processes: networks hold Python's lock too much."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from pixelcodec.container import Start
from pixelcodec.limits import engines_within
from pixelcodec.pictures import Samples
from pixelcodec.places import strip_named
from pixelcodec.progress import Count
from pixelcodec.runtime import Compute
from pixelcodec.strips import ImageDecoder
from pixelcodec.workers import Workers, next_of


@dataclass(frozen=True)
class StripTask:
    """A strip to decode.

    Attributes:
        parts: of the strip.
        height: its rows.
        index: its number, from 0.
    """

    parts: Sequence[bytes]
    height: int
    index: int = 0


@dataclass(frozen=True)
class StripWorker:
    """Decodes independent strips of an image; it can be sent to another process.

    Attributes:
        start: of the file.
        how: keywords of :func:`pixelcodec.decode`, but for ``progress``.
    """

    start: Start
    how: Mapping[str, Any]

    def decoder(self) -> ImageDecoder:
        """Make ready to decode.

        Raises:
            FormatError: the header does not suit the models, or claims more than the limits.
            ModelError: a model is not installed, or did not write the file.
            BackendError: the back end or device cannot be used.
        """
        engines = engines_within(self.start, self.how)
        return ImageDecoder(self.start, engines)

    def __call__(self, task: StripTask, progress: Count) -> Samples:
        """Decode one strip: uint8 or uint16 [height, width, channels]."""
        with Compute.of(self.how).running(), strip_named(self.start.header, task.index):
            return self.decoder().decode(task.parts, task.height, progress)


def decode_strips(
    worker: StripWorker, tasks: Iterable[StripTask], jobs: int, progress: Count
) -> list[Samples]:
    """Decode strips in ``jobs`` processes, each with a thread here that waits for it.

    The main module of the program is imported in each process, so a script that calls this must
    guard what it does by ``if __name__ == "__main__"``.

    Raises:
        PixelcodecError: as :meth:`StripWorker.decoder`; or a process died.
    """
    told: SimpleQueue[int | Future[Samples]] = SimpleQueue()
    with ThreadPoolExecutor(jobs) as threads, Workers() as workers:
        try:
            strips = [
                threads.submit(workers.run, partial(worker, task), told.put) for task in tasks
            ]
            for strip in strips:
                strip.add_done_callback(told.put)
            left = len(strips)
            while left:
                match next_of(told):
                    case int(pixels):
                        progress(pixels)
                    case strip:
                        strip.result()
                        left -= 1
        except BaseException:  # Ctrl-C too: the workers end now, and then the threads
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [strip.result() for strip in strips]
