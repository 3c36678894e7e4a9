"""The ``pixelcodec`` command: one file a command, and nothing that the library does not offer."""
