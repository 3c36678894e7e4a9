"""Run commands and tell, as JSON, what Python's audit hooks saw of them: files, sockets, pickles.

In ``tests/``: ``python -m robustness.audited FOLDER``, which has a ``photo.png``.
"""

import json
import os
import sys
from collections import defaultdict
from pathlib import Path

WRITES = {"os.rename": 2, "os.remove": 1, "os.link": 2, "os.rmdir": 1, "os.truncate": 1}
"""Events about files that change, and how many of their arguments are paths."""

NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")

COMMANDS = (
    ("encode", "photo.png"),
    ("encode", "photo.png", "-m", "standard", "-o", "standard.pxc"),
    ("decode", "photo.pxc", "-o", "back.png"),
    ("decode", "photo.pxc", "--partial", "-o", "partial.png"),
    ("verify", "photo.pxc", "photo.png"),
    ("info", "photo.pxc", "standard.pxc"),
    ("models",),
    ("compare", "photo.png", "-e", "1"),
)


def main() -> None:
    """Run all commands in the folder."""
    seen: defaultdict[str, set[str]] = defaultdict(set)

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            mode, flags = arguments[1], arguments[2]
            writes = set(mode) & set("wax+") if isinstance(mode, str) else None
            opens_to_write = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            if writes or (writes is None and opens_to_write):
                seen["written"].add(os.path.abspath(os.fsdecode(arguments[0])))
        elif event in WRITES:
            for path in arguments[: WRITES[event]]:
                seen["written"].add(os.path.abspath(os.fsdecode(str(path))))
        elif event in NETWORK:
            seen["network"].add(event)
        elif event in PROGRAMS:
            seen["programs"].add(str(arguments[0]))
        elif event == "pickle.find_class":
            seen["pickled"].add(str(arguments[0]))

    sys.addaudithook(look)
    from pixelcodec.cli.main import main as command

    os.chdir(sys.argv[1])
    for arguments in COMMANDS:
        try:
            command(list(arguments), prog_name="pixelcodec")
        except SystemExit as end:
            if end.code:
                raise
    found = {name: sorted(values) for name, values in seen.items()}
    Path("seen.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
