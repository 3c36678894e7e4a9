"""What can go wrong with images, files, models and machines; all are a :class:`PixelcodecError`.

The message of each says what is wrong, where, and what to do about it. A worker process that died
is a bare :class:`PixelcodecError`. An argument out of its range is a ``ValueError``, and what the
system refuses an ``OSError``.
"""


class PixelcodecError(Exception):
    """Base of all errors raised on purpose by pixelcodec."""


class UnsupportedImageError(PixelcodecError):
    """The image is of a kind that pixelcodec cannot hold without loss."""


class FormatError(PixelcodecError):
    """The bytes are not a whole, undamaged ``.pxc`` stream of a known version."""


class ModelError(PixelcodecError):
    """A model is missing, damaged, unknown, or could overflow exact arithmetic."""


class VerificationError(PixelcodecError):
    """What was encoded does not decode to the image: a fault of the program or of the machine."""


class BackendError(PixelcodecError):
    """The device, or the arithmetic (back end) asked for, is not there or not exact here."""
