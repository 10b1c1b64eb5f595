"""What a user sees while a command works: the console, progress bars with rate and time left."""

import contextlib
import math
import os
import sys
import tempfile
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class _Console(Console):
    """Rich's, which would end the process by itself, with exit code 1, once nobody reads what it prints."""

    def on_broken_pipe(self):
        raise  # the BrokenPipeError that it is called for


# In a notebook it prints plain lines: Rich's own way there is a piece of HTML for every call, and what stands for standard
# output calls itself a terminal, but keeps every state of a progress bar.
console = _Console(highlight=False, soft_wrap=True, force_jupyter=False,
                   force_terminal=False if "ipykernel" in sys.modules else None)


def as_tuple(sources):
    """One source or several, as a tuple."""
    return (sources,) if isinstance(sources, (str, os.PathLike)) else tuple(sources)


def decodable(text):
    """A text from the command line, where Python keeps bytes that are no UTF-8 as lone surrogates: question marks here."""
    return text.encode("utf-8", "replace").decode()


def check_at_least(minimum, **options):
    """Raises ValueError for the first option below `minimum` or without end, under its name on the command line."""
    for name, value in options.items():
        if not minimum <= value < math.inf:
            rule = f"at least {minimum}" if value < minimum else "a finite number"
            raise ValueError(f"--{name.replace('_', '-')} must be {rule}. Received: {value}")


def check_share(**options):
    """Raises ValueError for the first option that is not in [0, 1)."""
    for name, value in options.items():
        if not 0 <= value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be in [0, 1). Received: {value}")


def check_file(**options):
    """Raises FileNotFoundError for the first option that names a file which is not there."""
    for name, path in options.items():
        if path is not None and not os.path.isfile(path):
            reason = "is a folder" if os.path.isdir(path) else "does not exist"
            raise FileNotFoundError(f"--{name.replace('_', '-')} must be a file. Received: {path}, which {reason}")


def check_learning_rate(learning_rate):
    """Raises ValueError unless it is above 0."""
    if not learning_rate > 0:
        raise ValueError(f"--learning-rate must be above 0. Received: {learning_rate}")


def warn(message):
    """Shows a warning, if there is one."""
    if message:
        console.print(f"warning: {message}", style="yellow", markup=False)


def show_report(skipped, json_path):
    """How an evaluation ends: the `SkippedRows`, if there are any, and the file that was written."""
    if skipped.total:
        console.print(f"Rows left out because they could not be read: {skipped}.", markup=False)
    console.print(f"report: {json_path}", markup=False)


@contextlib.contextmanager
def held_back():
    """Keeps to itself what libraries write straight to file descriptor 2, and shows it if what they do fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes:
        descriptor = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(descriptor, notes.read())
            raise
        finally:
            os.dup2(descriptor, 2)
            os.close(descriptor)


def import_tensorflow():
    """Imports TensorFlow without its start-up notes, and gives each of its operations half of the cores.

    The notes come before any logger exists, at the import and when devices are first looked at. The later ones obey
    TF_CPP_MIN_LOG_LEVEL (app/__init__.py). Two operations run at a time: models/halves.py says why.
    """
    with held_back():
        import tensorflow

        threading = tensorflow.config.threading
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not threading.get_intra_op_parallelism_threads() and "TF_NUM_INTRAOP_THREADS" not in os.environ:
            with contextlib.suppress(RuntimeError):  # a notebook may have computed before
                threading.set_intra_op_parallelism_threads(max(1, cores // 2))
        tensorflow.config.list_logical_devices()
        tensorflow.get_logger().setLevel("ERROR")


def load_tensorflow():
    """Imports TensorFlow in this way, and Keras on top of it.

    Raises:
        ValueError: Keras is set to another backend.
    """
    import_tensorflow()
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError("training and export run on Keras's TensorFlow backend. Received: "
                         f"{keras.backend.backend()}; unset KERAS_BACKEND or mend ~/.keras/keras.json")


class _Rate(TextColumn):
    """Units a second since the start, with an SI prefix."""

    def __init__(self, unit):
        super().__init__("")
        self.unit = unit

    def render(self, task):
        speed = task.finished_speed or task.speed or 0.0
        for divisor, prefix in ((1e6, "M"), (1e3, "k")):
            if speed >= divisor:
                return f"{speed / divisor:.1f} {prefix}{self.unit}/s"
        return f"{speed:.1f} {self.unit}/s"


@contextlib.contextmanager
def progress_bar(description, total=None, unit="", every=30.0):
    """Shows how far a long job is.

    Args:
        description: what is being done; a few words.
        total: how many units there are; None when nobody knows.
        unit: what is counted, for the rate ("rows", "B", "steps").
        every: seconds between two lines where there is no terminal (a log file).

    Yields:
        `advance(n=1, note=None)`: n units more are done; `note` is shown beside the bar.
    """
    if not console.is_terminal:
        yield _log_lines(description, total, unit, every)
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f}%"),
               _Rate(unit), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"),
               TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total, note="")

        def advance(n=1, note=None):
            progress.update(task, advance=n, **({} if note is None else {"note": note}))

        yield advance


def _log_lines(description, total, unit, every):
    start = last = time.monotonic()
    done = 0

    def advance(n=1, note=None):
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last >= every:
            last = now
            rate = done / (now - start)
            left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
            share = f"{100 * done / total:.0f} % " if total else ""
            console.print(f"{description}: {share}{rate:.4g} {unit}/s{left} {note or ''}")

    return advance
