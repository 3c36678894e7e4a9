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
)

if TYPE_CHECKING:
    from pixelcodec.api import (
        FileInfo,
        decode,
        decode_from,
        encode,
        encode_to,
        inspect,
        preview_from,
    )

__version__ = version("pixelcodec")

__all__ = [
    "BackendError",
    "FileInfo",
    "FormatError",
    "ModelError",
    "PixelcodecError",
    "UnsupportedImageError",
    "__version__",
    "decode",
    "decode_from",
    "encode",
    "encode_to",
    "inspect",
    "preview_from",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for: a command's help should not wait."""
    if name in __all__:
        return getattr(import_module("pixelcodec.api"), name)
    raise AttributeError(f"module 'pixelcodec' has no attribute {name!r}")
