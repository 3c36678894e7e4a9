"""Lossless image compression by learned autoregressive models, exact on every machine."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pixelcodec.errors import (
    BackendError,
    FormatError,
    ModelError,
    PixelcodecError,
    UnsupportedImageError,
    VerificationError,
)

if TYPE_CHECKING:
    from pixelcodec.api import (
        FileInfo,
        decode,
        decode_from,
        decode_image,
        decode_picture,
        encode,
        encode_to,
        inspect,
        preview_from,
    )
    from pixelcodec.pictures import Picture
    from pixelcodec.salvaging import Salvaged, salvage
    from pixelcodec.stream import (
        Decoder,
        Encoder,
        RowReader,
        RowWriter,
        create,
        open,
        stream_reader,
        stream_writer,
    )

__version__ = version("pixelcodec")
"""The version of the package."""

__all__ = [
    "BackendError",
    "Decoder",
    "Encoder",
    "FileInfo",
    "FormatError",
    "ModelError",
    "Picture",
    "PixelcodecError",
    "RowReader",
    "RowWriter",
    "Salvaged",
    "UnsupportedImageError",
    "VerificationError",
    "__version__",
    "create",
    "decode",
    "decode_from",
    "decode_image",
    "decode_picture",
    "encode",
    "encode_to",
    "inspect",
    "open",
    "preview_from",
    "salvage",
    "stream_reader",
    "stream_writer",
]

_STREAMING = (
    *("Decoder", "Encoder", "RowReader", "RowWriter"),
    *("create", "open", "stream_reader", "stream_writer"),
)


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for: a command's help should not wait."""
    if name in _STREAMING:
        return getattr(import_module("pixelcodec.stream"), name)
    if name in ("Salvaged", "salvage"):
        return getattr(import_module("pixelcodec.salvaging"), name)
    if name == "Picture":
        return import_module("pixelcodec.pictures").Picture
    if name in __all__:
        return getattr(import_module("pixelcodec.api"), name)
    raise AttributeError(f"module 'pixelcodec' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not, and what every module has."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
