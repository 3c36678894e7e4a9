"""``python -m pixelcodec``: the command line."""

from pixelcodec.cli.main import main

if __name__ == "__main__":
    main()
