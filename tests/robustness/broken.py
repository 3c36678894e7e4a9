"""The program broken on purpose, in a copy, promise by promise: its tests must fail each time.

In ``tests/``: ``python -m robustness.broken``. Each entry of :data:`BREAKS` is a small mistake that
somebody could make, and the tests which docs/RELIABILITY.md names against it. Before anything is
broken all of these must pass. ``--only WORD`` tries those that have it in their line.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("pixelcodec", "models", "cli", "tests", "pyproject.toml", "constraints.txt")
SECONDS_MOST = 600
"""For one test; a broken program may hang."""


@dataclass(frozen=True)
class Break:
    """A mistake.

    Attributes:
        promise: of docs/RELIABILITY.md, by its number.
        what: is wrong then.
        file: where.
        old: what stands there once.
        new: what the mistake makes of it.
        tests: each as ``test_file::test_name``; they fail.
    """

    promise: int
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def line(self) -> str:
        """Number and words."""
        return f"{self.promise}. {self.what}"


BREAKS = (
    Break(
        1,
        "rows of a strip come back upside down",
        "pixelcodec/strips.py",
        "samples = found[0] if len(found) == 1 else np.concatenate(found, 2)",
        "samples = np.concatenate(found, 2)[::-1]",
        (
            "test_api::test_any_image_comes_back",
            "test_stream::TestDecoder::test_bytes_in_any_pieces_give_the_same_rows",
        ),
    ),
    Break(
        1,
        "words of strips have their high bytes first",
        "pixelcodec/coder.py",
        'astype("<u4").tobytes()',
        'astype(">u4").tobytes()',
        ("test_reference::test_every_kind_of_content",),
    ),
    Break(
        1,
        "verification compares nothing",
        "pixelcodec/verification.py",
        "if found.dtype != expected.dtype or not np.array_equal(found, expected[:count]):",
        "if False:",
        ("test_verification::test_every_difference_is_told",),
    ),
    Break(
        1,
        "verification writes other bytes",
        "pixelcodec/verification.py",
        "taken = self._fh.write(data)",
        "taken = self._fh.write(data[::-1])",
        ("test_verification::test_every_kind_passes_and_the_bytes_are_the_same",),
    ),
    Break(
        1,
        "the command does not verify",
        "cli/encode.py",
        '"verify": verify,',
        '"verify": False,',
        ("test_verification::test_the_command_verifies_unless_told_not_to",),
    ),
    Break(
        1,
        "samples are converted to 8 bits",
        "pixelcodec/pictures/picture.py",
        'if array.dtype.kind != "u" or array.dtype.itemsize > 2:',
        "array = array.astype(np.uint8)\n        if False:",
        ("test_api::test_what_the_model_cannot_hold_is_refused",),
    ),
    Break(
        1,
        "nobody looks whether the source changed",
        "cli/files.py",
        "if _state(path) != before:",
        "if False:",
        ("test_faults::test_a_source_that_changes_while_it_is_encoded_is_refused",),
    ),
    Break(
        2,
        "layers round in another way",
        "pixelcodec/exact.py",
        "self._bias = layer.bias.to(device)",
        "self._bias = layer.bias.to(device) + 64",
        (
            "test_golden::test_decodes_to_the_same_samples",
            "test_golden::test_pictures_come_back",
        ),
    ),
    Break(
        2,
        "weights learn at another pace",
        "models/learning.py",
        "(gradient * gradient - squares[j, i]) >> 7",
        "(gradient * gradient - squares[j, i]) >> 6",
        ("test_golden::test_decodes_to_the_same_samples",),
    ),
    Break(
        2,
        "what is remembered fades faster",
        "models/memory.py",
        "((others >> 1) + 1)",
        "((others >> 2) + 1)",
        ("test_golden::test_decodes_to_the_same_samples",),
    ),
    Break(
        2,
        "models have another hash",
        "models/network.py",
        "json.dumps([self.architecture, self.config], sort_keys=True)",
        "json.dumps([self.config, self.architecture], sort_keys=True)",
        ("test_golden::test_the_models_are_those_that_wrote_the_streams",),
    ),
    Break(
        2,
        "the reference decoder reads words in another order",
        "tests/reference_decoder.py",
        "return self.words.pop(0) if self.words else 0",
        "return self.words.pop() if self.words else 0",
        (
            "test_golden::test_the_reference_decodes_the_same",
            "test_golden::test_the_reference_restores_pictures",
            "test_golden::test_the_reference_decodes_what_models_that_shipped_wrote",
        ),
    ),
    Break(
        2,
        "a model that shipped is left out",
        "models/zoo/__init__.py",
        'for path in _FOLDER.glob("*.safetensors"))',
        'for path in _FOLDER.glob("*.safetensors") if path.stem != "cifar-row-lstm")',
        ("test_golden::test_each_model_that_shipped_has_a_stream",),
    ),
    Break(
        2,
        "salvaging passes over what it does not know",
        "pixelcodec/salvaging.py",
        "elif tag.isupper():",
        "elif False:",
        ("test_salvaging::test_what_a_newer_encoder_wrote_and_must_be_understood_is_refused",),
    ),
    Break(
        2,
        "nobody looks at the version",
        "pixelcodec/container.py",
        "if fields[0] != VERSION:",
        "if False:",
        ("test_container::TestDamage::test_errors_say_what_and_where",),
    ),
    Break(
        3,
        "a back end rounds",
        "pixelcodec/exact.py",
        "return (activations.to(torch.float32) @ prepared).to(torch.int32)",
        "return (activations.to(torch.float32) @ prepared).to(torch.bfloat16).to(torch.int32)",
        (
            "test_golden::test_decodes_to_the_same_samples",
            "test_api::test_bytes_depend_on_image_model_and_strips_alone",
        ),
    ),
    Break(
        3,
        "any back end passes for exact",
        "pixelcodec/exact.py",
        "    for rows, inputs, outputs in _TESTED:\n",
        "    for rows, inputs, outputs in ():\n",
        (
            "test_exact::test_a_broken_back_end_fails_the_known_answer_test",
            "test_exact::test_auto_passes_over_what_is_not_exact",
        ),
    ),
    Break(
        3,
        "strips of processes come in another order",
        "pixelcodec/parallel.py",
        "return [strip.result() for strip in strips]",
        "return [strip.result() for strip in reversed(strips)]",
        ("test_stream::TestJobs::test_processes_give_the_same_samples_and_count_them",),
    ),
    Break(
        3,
        "images share what a model learned",
        "pixelcodec/engine.py",
        "    def learner(self, ",
        '    @__import__("functools").cache\n    def learner(self, ',
        ("test_stream::test_threads_do_not_disturb_each_other",),
    ),
    Break(
        3,
        "the hash of a model is not compared",
        "models/zoo/__init__.py",
        'if network.sha256 != about.get("sha256"):',
        "if False:",
        ("test_api::test_a_damaged_model_is_refused",),
    ),
    Break(
        3,
        "any model decodes any file",
        "pixelcodec/runtime.py",
        "if network.model_id not in ids:",
        "if False:",
        ("test_api::test_a_file_of_another_model_is_refused",),
    ),
    Break(
        2,
        "a model that shipped is replaced by another",
        "models/zoo/__init__.py",
        'return load_file(_FOLDER / f"{name}.safetensors")',
        "return load_file(_FOLDER / f\"{name.replace('photo-m', 'photo-s')}.safetensors\")",
        ("test_golden::test_models_that_shipped_decode_what_they_wrote",),
    ),
    Break(
        3,
        "files of models are read once",
        "models/zoo/__init__.py",
        "def load_file(",
        "@cache\ndef load_file(",
        ("test_api::test_a_model_file_that_was_replaced_is_read_again",),
    ),
    Break(
        4,
        "CRCs are not compared",
        "pixelcodec/container.py",
        "if stored != computed:",
        "if False:",
        ("test_container::TestDamage::test_every_flipped_bit_is_found",),
    ),
    Break(
        4,
        "a strip passes for another",
        "pixelcodec/crc.py",
        "return zlib.crc32(_PLACE.pack(head_crc, place & _MASK))",
        "return 0",
        (
            "test_container::TestPlaces::test_chunks_that_changed_places_are_found",
            "test_api::test_of_strips_that_changed_places_no_region_is_given",
        ),
    ),
    Break(
        4,
        "nobody says where a file is cut off",
        "pixelcodec/container.py",
        'f"truncated at byte {self.offset}: {what}',
        'f"truncated: {what}',
        ("test_container::TestDamage::test_every_truncation_is_found_and_placed",),
    ),
    Break(
        4,
        "the checksum of all samples is not compared",
        "pixelcodec/stream.py",
        "check_crc(self._crc, samples_crc)",
        "pass",
        (
            "test_api::test_strips_that_changed_places_are_noticed",
            "test_robustness::test_a_small_campaign_finds_nothing",
        ),
    ),
    Break(
        4,
        "changes of the model may be any",
        "pixelcodec/adaptation.py",
        "except (FormatError, ModelError) as error:",
        "except ZeroDivisionError as error:",
        ("test_attacks::test_changes_of_the_model_that_overflow",),
    ),
    Break(
        4,
        "strips behind the first are placed one too high",
        "pixelcodec/salvaging.py",
        "return place if place <=",
        "return max(place - 1, 0) if place <=",
        (
            "test_salvaging::test_no_row_is_wrong_whatever_happens_to_bytes",
            "test_salvaging::test_of_independent_strips_the_damaged_one_alone_is_lost",
        ),
    ),
    Break(
        4,
        "strips that need the lost ones are decoded without",
        "pixelcodec/salvaging.py",
        "elif index > len(found):",
        "elif False:",
        ("test_salvaging::test_of_others_all_below_are_lost",),
    ),
    Break(
        4,
        "the mark starts anew in each block",
        "pixelcodec/salvaging.py",
        "shift = (phase + top) % period",
        "shift = phase",
        ("test_salvaging::test_the_mark_is_stripes_that_go_on",),
    ),
    Break(
        4,
        "rows are lost, and the command succeeds",
        "cli/decode.py",
        'return Loss(f"',
        'return str(f"',
        ("test_cli_partial::test_whole_strips_are_written_and_lost_rows_named",),
    ),
    Break(
        3,
        "what was compiled before an update runs on",
        "pixelcodec/compiled.py",
        "return (*found, digest(self._py_func))",
        "return found",
        ("test_compiled::test_what_was_compiled_of_other_sources_does_not_run",),
    ),
    Break(
        5,
        "signals end the command where it stands",
        "cli/signals.py",
        "if signal.getsignal(each) == signal.SIG_DFL",
        "if False",
        ("test_cli_streams::test_signals_that_end_a_batch_leave_nothing",),
    ),
    Break(
        5,
        "a writer goes on after a call that failed",
        "pixelcodec/stream.py",
        "            self._ended = _FAILED\n            self.abort()\n",
        "",
        ("test_stream::TestFiles::test_what_fails_gives_up_the_image",),
    ),
    Break(
        5,
        "a file has its name before its bytes",
        "pixelcodec/new_file.py",
        'part = target.with_name(f".pixelcodec-{secrets.token_hex(6)}.part")',
        "part = target",
        (
            "test_cli_streams::test_a_killed_process_leaves_nothing_under_the_name_of_the_target",
            "test_faults::test_a_small_campaign_loses_nothing",
        ),
    ),
    Break(
        5,
        "a file has its name before it is on the disk",
        "pixelcodec/new_file.py",
        "os.fsync(stream.fileno())",
        "pass",
        ("test_faults::test_a_new_file_is_on_the_disk_before_it_has_its_name",),
    ),
    Break(
        5,
        "parts of files stay",
        "pixelcodec/new_file.py",
        "part.unlink(missing_ok=True)",
        "pass",
        (
            "test_cli_streams::test_where_a_disk_ends_no_partial_file_is_left",
            "test_cli_streams::test_ctrl_c_ends_a_batch_at_once_and_leaves_nothing",
        ),
    ),
    Break(
        5,
        "a new file takes the place of another",
        "pixelcodec/new_file.py",
        "os.link(part, target)",
        '__import__("shutil").copy(part, target)',
        ("test_faults::test_a_new_file_never_takes_the_place_of_another",),
    ),
    Break(
        6,
        "pixels are not counted",
        "pixelcodec/limits.py",
        "if pixels > max_pixels:",
        "if False:",
        (
            "test_api::test_the_caller_limits_the_pixels",
            "test_attacks::test_two_gibibytes_in_60_bytes",
        ),
    ),
    Break(
        6,
        "bytes are not limited",
        "pixelcodec/limits.py",
        "if needed > max_bytes:",
        "if False:",
        ("test_attacks::test_the_caller_limits_the_bytes",),
    ),
    Break(
        6,
        "bytes are counted in 16 bits",
        "pixelcodec/limits.py",
        "(2 if header.bit_depth == 16 else 1)",
        "(2 if header.bit_depth == 16 else 1) % 2**16",
        ("test_attacks::test_more_pixels_than_32_and_64_bits_count",),
    ),
    Break(
        6,
        "the estimate forgets what networks hold",
        "pixelcodec/limits.py",
        "2 * stored + carried + in_hand * _PIXEL_IN_HAND",
        "carried",
        ("test_attacks::test_what_a_canvas_stores_is_less_than_the_estimate",),
    ),
    Break(
        6,
        "the estimate forgets what programs remember",
        "pixelcodec/limits.py",
        "return _TABLES_MADE + 2 * own",
        "return 0",
        (
            "test_attacks::test_what_decoding_takes_is_less_than_the_estimate",
            "test_attacks::test_small_limits_keep_models_out_that_remember",
        ),
    ),
    Break(
        6,
        "the estimate counts weights that learn as if they did not",
        "pixelcodec/limits.py",
        "LEARNING_BYTES = 64",
        "LEARNING_BYTES = 1",
        ("test_attacks::test_what_layers_that_learn_store_is_less_than_the_estimate",),
    ),
    Break(
        6,
        "the estimate is about all rows",
        "pixelcodec/limits.py",
        "rows = header.strip_height(0)",
        "rows = header.height",
        ("test_attacks::test_the_limit_is_about_rows_that_are_held",),
    ),
    Break(
        6,
        "a chunk may claim any length",
        "pixelcodec/container.py",
        'f"damaged at byte {chunk.offset}: {chunk.name} claims {chunk.length} bytes, "',
        'f"damaged: {chunk.name} claims {chunk.length} bytes, "',
        ("test_attacks::test_a_chunk_of_four_gibibytes",),
    ),
    Break(
        6,
        "chunks that are skipped are kept",
        "pixelcodec/container.py",
        "    so_far, left = chunk.head_crc, chunk.length\n",
        "    so_far, left = chunk.head_crc, chunk.length\n"
        '    globals().setdefault("KEPT", []).append(bytearray(b"x" * 2**12))\n',
        ("test_attacks::test_chunks_without_end",),
    ),
    Break(
        6,
        "metadata unfold without limit",
        "pixelcodec/container.py",
        "inflater.decompress(payload, METADATA_MOST)",
        "inflater.decompress(payload)",
        ("test_attacks::test_metadata_that_unfold_to_a_gibibyte",),
    ),
    Break(
        6,
        "images may have no columns",
        "pixelcodec/container.py",
        "1 <= self.width <= WIDTH_MAX",
        "0 <= self.width <= WIDTH_MAX",
        ("test_attacks::test_sizes_of_zero",),
    ),
    Break(
        7,
        "pickles are read",
        "pixelcodec/metadata.py",
        "import struct\n",
        "import pickle\nimport struct\n",
        ("test_supply_chain::test_no_module_takes_code_from_data_or_uses_the_network",),
    ),
    Break(
        7,
        "a command asks the network",
        "cli/files.py",
        '        with path.open("rb") as stream:\n',
        '        __import__("socket").getaddrinfo("localhost", 9)\n'
        '        with path.open("rb") as stream:\n',
        ("test_supply_chain::test_commands_use_no_network_and_run_no_programs",),
    ),
    Break(
        7,
        "a command keeps a diary",
        "cli/files.py",
        '        with path.open("rb") as stream:\n',
        '        Path("diary").write_text(str(path))\n        with path.open("rb") as stream:\n',
        ("test_supply_chain::test_commands_write_targets_and_caches_alone",),
    ),
)


def copy(folder: Path) -> None:
    """Copy the sources, with what is compiled, as they are installed."""
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    for name in ("models", "cli"):
        (folder / "pixelcodec" / name).symlink_to(Path("..", name))


@contextmanager
def broken(folder: Path, mistake: Break) -> Iterator[None]:
    """Make ``mistake`` in the copy, and then undo it."""
    path = folder / mistake.file
    before, stat = path.read_text(encoding="utf-8"), path.stat()
    path.write_text(before.replace(mistake.old, mistake.new), encoding="utf-8")
    yield
    path.write_text(before, encoding="utf-8")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # what was compiled is still of it


def failure(folder: Path, tests: Iterable[str]) -> str:
    """What is said where one of some tests fails in the copy, or hangs; nothing if all pass."""
    names = [f"tests/{test.replace('::', '.py::', 1)}" for test in tests]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *names],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=SECONDS_MOST * len(names),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it hangs"
    if done.returncode > 1:  # neither passed nor failed: they did not run
        raise RuntimeError(done.stdout + done.stderr)
    return (done.stdout or "it died") if done.returncode else ""


def main() -> None:
    """Make every mistake, and fail if a test does not notice one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mistakes with this in their line")
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    chosen = [mistake for mistake in BREAKS if asked.only in mistake.line]
    survived = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy(folder)
        if said := failure(folder, sorted({test for each in chosen for test in each.tests})):
            sys.exit(f"before anything is broken:\n{said}")
        for mistake in chosen:
            with broken(folder, mistake):
                for test in mistake.tests:
                    noticed = failure(folder, [test])
                    survived |= not noticed
                    told = "fails" if noticed else "PASSES"
                    print(f"{mistake.line:58}  {told:6}  {test}", flush=True)
    sys.exit(survived)


if __name__ == "__main__":
    main()
