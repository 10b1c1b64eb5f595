"""A text file in any usual encoding, plain or .gz → its lines as text, streamed."""

import codecs
import gzip
import itertools
from collections.abc import Iterator
from pathlib import Path

UNDECODABLE, NUL = "bytes that are not text in the file's encoding", "a NUL byte"

# Legacy encodings worth guessing between; without such a list charset_normalizer also answers mac_latin2 and
# the like.
_LEGACY_ENCODINGS = ["gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1252", "cp1251", "koi8_r", "cp1250",
                     "cp1254", "cp1253", "cp1255", "cp1256"]
_SAMPLE_BYTES = 1 << 16


def open_bytes(path: Path):
    """The file opened for reading bytes, unpacked if it ends in .gz."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")


def find_encoding(path: Path) -> str:
    """The encoding of a file, from its byte order mark or from the first megabyte that is not all ASCII.

    UTF-8 unless most of the non-ASCII characters there are wrong as UTF-8: then what charset_normalizer
    finds.

    Raises:
        OSError, EOFError, zlib.error: the file cannot be read or unpacked.
    """
    with open_bytes(path) as file:
        chunk = file.read(1 << 20)
        if chunk.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            return "utf-32"
        if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        while chunk and chunk.isascii():
            chunk = file.read(1 << 20)
        chunk += file.readline()  # whole lines: a character cut in two would look like a wrong one
    sample = b"\n".join(line for line in chunk.split(b"\n") if not line.isascii())
    if len(sample) > _SAMPLE_BYTES:
        sample = sample[:max(sample.rfind(b"\n", 0, _SAMPLE_BYTES), 0) or _SAMPLE_BYTES]
    text = sample.decode("utf-8", "replace")
    wrong = text.count("�")
    right = sum(character > "\x7f" for character in text) - wrong
    if right >= wrong:  # legacy Chinese, Japanese, Korean: 0.2 to 0.5 right for each wrong one; others: 0
        return "utf-8"
    from charset_normalizer import from_bytes

    for cut in range(4):  # one line longer than the sample may end inside a character
        matches = list(from_bytes(sample[:len(sample) - cut], cp_isolation=_LEGACY_ENCODINGS))
        if matches:
            best = matches[0]
            # Where Western and Central European read equally well, Western is far more common.
            western = any("cp1252" in match.could_be_from_charset and match.coherence >= best.coherence
                          and match.chaos <= best.chaos for match in matches)
            return "cp1252" if western else best.encoding
    return "utf-8"


def decoded_lines(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yields (line with its LF or CR LF, what is wrong with it or None); a line in memory at a time.

    Raises:
        OSError, EOFError, zlib.error, UnicodeError: the file cannot be read, unpacked or, as UTF-16, decoded.
    """
    encoding = find_encoding(path)
    with open_bytes(path) as file:
        if encoding in ("utf-16", "utf-32"):
            # In these LF is not one byte: transcode. A lone surrogate stays an invalid sequence and is met
            # below.
            decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
            chunks = itertools.chain(iter(lambda: file.read(1 << 20), b""), [b""])
            lines = _split_lines(decoder.decode(chunk, not chunk).encode("utf-8", "surrogatepass")
                                 for chunk in chunks)
            encoding = "utf-8"
        else:
            lines = file
        for number, line in enumerate(lines):
            if number == 0 and encoding == "utf-8":
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                yield line.decode(encoding), NUL if b"\0" in line else None
            except UnicodeDecodeError:
                yield line.decode(encoding, "replace"), UNDECODABLE


def _split_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest: list[bytes] = []  # a list: a very long line is joined once
    for chunk in chunks:
        *lines, tail = chunk.split(b"\n")
        for line in lines:
            yield b"".join(rest) + line + b"\n"
            rest = []
        rest.append(tail)
    if any(rest):
        yield b"".join(rest)
