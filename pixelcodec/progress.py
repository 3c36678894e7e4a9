"""What the parts of coding tell of how far they are."""

from collections.abc import Callable

Count = Callable[[int], None]
"""Called now and then with the count of pixels that were finished since the last call."""
