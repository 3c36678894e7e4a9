"""The decoder under a fuzzer that looks for files which reach new lines: ``pip install atheris``.

In ``tests/``: ``python -m robustness.guided FOLDER -max_total_time=600``. FOLDER begins with the
corpus of ``robustness.fuzz``, and keeps what was found; other options are those of libFuzzer. The
first file that does what none may ends it, and is left in the current folder.
"""

import sys
from pathlib import Path


def main() -> None:
    """Fuzz until something fails, or time is up."""
    import atheris

    # First those whose loops numba compiles: what is imported already is not looked into.
    import pixelcodec.engine
    import pixelcodec.models.fine_tuning

    with atheris.instrument_imports(include=["pixelcodec"]):
        import pixelcodec.api
        import pixelcodec.salvaging  # noqa: F401
    from robustness.corpus import seeds
    from robustness.mutations import mended, sealed
    from robustness.trial import Trial, run

    tiny = next(seed for seed in seeds() if seed.name == "rgb")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (folder / f"seed{number:03}").write_bytes(seed.data)

    def with_right_checksums(data: bytes) -> bytes:
        """As far as chunks can be found, so that not every file ends at its first CRC."""
        try:
            return sealed(mended(data[:36]) + data[36:])
        except Exception:
            return data

    def try_one(data: bytes) -> None:
        run(Trial(with_right_checksums(data), tiny.model, frozenset(), on_purpose=True))

    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
