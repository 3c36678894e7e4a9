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
        decode,
        decode_from,
        decode_image,
        decode_picture,
        encode,
        encode_to,
        preview_from,
    )
    from pixelcodec.inspection import FileInfo, inspect
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

_MODULES = {
    **dict.fromkeys(("decode", "decode_from", "decode_image", "decode_picture"), "api"),
    **dict.fromkeys(("encode", "encode_to", "preview_from"), "api"),
    **dict.fromkeys(("Decoder", "Encoder", "RowReader", "RowWriter"), "stream"),
    **dict.fromkeys(("create", "open", "stream_reader", "stream_writer"), "stream"),
    **dict.fromkeys(("FileInfo", "inspect"), "inspection"),
    **dict.fromkeys(("Salvaged", "salvage"), "salvaging"),
    "Picture": "pictures",
}
"""Where public names are."""


def __getattr__(name: str) -> Any:
    """Import what is asked for, now: what needs torch is slow, and a command's help cannot wait."""
    if name in _MODULES:
        return getattr(import_module(f"pixelcodec.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'pixelcodec' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not, and what every module has."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
