"""How an image is going to be coded: by which models, in which strips. The header says it all."""

from dataclasses import dataclass

from pixelcodec.container import STANDARD, WIDTH_MAX, Header
from pixelcodec.errors import ModelError, UnsupportedImageError
from pixelcodec.models import zoo
from pixelcodec.models.architectures import can_learn
from pixelcodec.runtime import STANDARD_NAME, Compute
from pixelcodec.strips import Engines, step_of

STRIP_PIXELS = 2**20
"""By default a strip has about this many pixels, of 1 bit 8 times as many, in as few rows."""

_STRIP_ROWS_MAX = 65535


@dataclass(frozen=True)
class Shape:
    """What a model must suit.

    Attributes:
        width: columns.
        height: rows.
        channels: 1 gray or index, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        bit_depth: of a sample.
        is_palette: whether samples are indices.
    """

    width: int
    height: int
    channels: int
    bit_depth: int
    is_palette: bool = False

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.channels in (2, 4)


def plan(
    shape: Shape,
    model: str | None,
    default_model: str,
    compute: Compute,
    strip_rows: int | None,
    tile: int | None,
    restart: bool,
    learning: int = 0,
) -> tuple[Header, Engines]:
    """Decide how an image is coded.

    Args:
        shape: of the image.
        model: codes the colours; :data:`pixelcodec.runtime.STANDARD_NAME` for none. None: what
            suits the image.
        default_model: what suits photographs.
        compute: how it runs.
        strip_rows: rows of a strip; None for the default.
        tile: side of the tiles; None for what the model needs.
        restart: whether strips are independent.
        learning: how fast models learn from what is coded, if they can.

    Raises:
        UnsupportedImageError: the image is too wide, or the model does not code such samples.
        ModelError: there is no such model, it codes no such channels, or ``strip_rows`` does not
            fit it or its tiles.
        BackendError: the back end or device cannot be used.
    """
    if shape.width > WIDTH_MAX:
        raise UnsupportedImageError(
            f"the image has {shape.width} columns; the widest image has {WIDTH_MAX}"
        )
    name = model or (default_model if _is_everyday(shape) else STANDARD_NAME)
    engines, model_id, side, learns = {}, STANDARD, tile or 0, False
    if name != STANDARD_NAME:
        network = zoo.load(name)
        engine = compute.engine(network)
        check_bit_depth(shape.bit_depth, engine.program.bit_depth, name)
        side = engine.program.tile if tile is None else tile
        engines, model_id = {network.model_id: engine}, network.model_id
        learns = can_learn(network)
    unit = side or step_of(engines)
    if strip_rows is not None and strip_rows % unit:
        raise ModelError(
            f"strips of {strip_rows} rows do not fit the model or its tiles; "
            f"give a multiple of {unit}, or none"
        )
    if strip_rows is None:
        strip_rows = default_strip_rows(shape.height, shape.width, unit, shape.bit_depth)
    # Together, PNG and WebP code colours and alpha in fewer bytes; no model codes both.
    alpha_id = STANDARD if shape.has_alpha and model_id != STANDARD else None
    header = Header(
        width=shape.width,
        height=shape.height,
        channels=shape.channels,
        bit_depth=shape.bit_depth,
        strip_rows=strip_rows,
        model_id=model_id,
        restart=restart,
        tile=side,
        alpha_id=alpha_id,
        learning=learning if learns else 0,
    )
    return header, engines


def _is_everyday(shape: Shape) -> bool:
    """Whether the default model is made for such images."""
    return shape.bit_depth == 8 and not shape.is_palette


def check_bit_depth(found: int, bit_depth: int, model: str) -> None:
    """Refuse an image for a ``model`` that codes samples of ``bit_depth``.

    Raises:
        UnsupportedImageError: its samples are of another.
    """
    if found != bit_depth:
        raise UnsupportedImageError(
            f"the image has {found}-bit samples; model {model} codes {bit_depth}-bit samples"
        )


def default_strip_rows(height: int, width: int, unit: int = 1, bit_depth: int = 8) -> int:
    """Rows of a strip of about :data:`STRIP_PIXELS`: few strips, and bounded memory.

    A multiple of ``unit``.
    """
    pixels = STRIP_PIXELS * 8 if bit_depth == 1 else STRIP_PIXELS
    most = min(pixels // width, _STRIP_ROWS_MAX)
    return min(-(-height // unit), max(1, most // unit)) * unit
