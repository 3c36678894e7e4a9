"""Networks: float modules that train, and the integer programs that code.

Nothing here knows of containers or coders, and of files of images only what gathers those to train
on (:mod:`pixelcodec.models.data`, :mod:`pixelcodec.models.datasets`).
"""
