"""Where exact arithmetic runs: each back end on each device, as parameters of tests."""

import pytest
import torch

from pixelcodec.exact import BACKENDS, known_answer_test

ALWAYS_EXACT = {("float32", "cpu"), ("int64", "cpu")}


def place(backend: str, device: str) -> object:
    """The parameters ``backend`` and ``device`` of a test, which runs where both can be used."""
    marks = [pytest.mark.cuda] if device == "cuda" else []
    if device == "cuda" and not torch.cuda.is_available():
        marks.append(pytest.mark.skip(reason="no CUDA device"))
    elif (backend, device) not in ALWAYS_EXACT:
        exact = known_answer_test(BACKENDS[backend](), torch.device(device))
        marks.append(pytest.mark.skipif(not exact, reason=f"{backend} is not exact on {device}"))
    return pytest.param(backend, device, id=f"{backend}-{device}", marks=marks)


PLACES = [
    place("int8", "cpu"),
    place("float32", "cpu"),
    place("int64", "cpu"),
    place("int8", "cuda"),
    place("float32", "cuda"),
]
