"""The encoding of a text file: found by its first bytes, by trying UTF-8, or by the look of its letters."""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlp.errors import ConfigError, did_you_mean, shortened

BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What spreadsheets and databases write where they do not write Unicode. Without this list, the shortest texts are taken
# for one of a hundred rare encodings.
CANDIDATES = ["cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "shift_jis", "gb18030", "big5"]
CANDIDATES += ["euc_kr", "euc_jp", "koi8_r"]
SAMPLE = 20_000  # bytes with letters outside ASCII, from which the encoding is guessed
N_START = 1 << 16  # bytes in which a UTF-16 file without a mark shows itself
# What Western texts and tables contain, without what Czech and Polish letters become when they are read as cp1252.
WESTERN = re.compile("[äöüÄÖÜßéèêëÉÈÊàâáãÀÁÂíîïÍóôõÓÔúùûÚçÇñÑåÅæÆ°µ²½¼¾€£§±×·“”„‘’–—…©®™ªº¡«»\xa0]+|(?<=m)³")
LONGEST_WESTERN = 2  # such letters in a row, as in `größe`; other alphabets have longer words of them


@dataclass
class NotUtf8Error(Exception):
    """The content is not UTF-8, so it must be read again in another encoding.

    Attributes:
        sample: the part of it that is not, with what surrounds it.
        byte: the first byte at fault.
        line: its line, counted from 1.
        n_valid: the number of characters outside ASCII that were valid before.
    """

    sample: bytes
    byte: int
    line: int
    n_valid: int


def to_utf8(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield a text as UTF-8 without a byte order mark.

    Args:
        chunks: the content of a file.
        encoding: the name of the encoding, or `auto`: as the byte order mark says, UTF-16 if every other byte is zero,
            otherwise UTF-8.

    Raises:
        NotUtf8Error: if `encoding` is `auto` and the content is not UTF-8.
        ConfigError: if the content is not in the given encoding, or not a text.
    """
    chunks = iter(chunks)
    start = b""
    while len(start) < N_START and (chunk := next(chunks, b"")):
        start += chunk
    name = find_unicode(start) if encoding == "auto" else encoding
    is_utf8 = codecs.lookup(name or "utf-8").name.startswith("utf-8")
    decoder = codecs.getincrementaldecoder("utf-8-sig" if is_utf8 else name)()
    line, n_valid = 1, 0
    is_first = True
    for chunk in itertools.chain([start], chunks, [b""]):
        if is_utf8 and chunk.isascii() and chunk and not is_first and not decoder.getstate()[0]:
            text, converted = "", chunk
        else:
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                byte = error.object[error.start]
                if encoding == "auto" and is_utf8:
                    raise NotUtf8Error(error.object, byte, line, n_valid) from None
                problem = f"line {line}: the byte 0x{byte:02x} is not valid in {name or 'utf-8'}"
                raise ConfigError(f"{problem}. Set data.encoding to the encoding of the file.") from None
            except UnicodeError as error:  # such as UTF-16 without a mark
                problem = f"is not a text in {name or 'utf-8'}: {error}"
                raise ConfigError(f"{problem}. Set data.encoding to the encoding of the file.") from None
            text = text.removeprefix("\ufeff") if is_first else text  # a mark, although the byte order was given
            converted = text.encode("utf-8", "surrogatepass")
            n_valid += len(converted) - len(text)
        is_first = False
        if b"\0" in converted:
            raise ConfigError("is not a text file: it contains zero bytes. Save the table as CSV.")
        line += converted.count(b"\n")
        if converted:
            yield converted


def find_unicode(start: bytes) -> str:
    """Return the Unicode encoding that the start of a file shows by a mark or by its zero bytes, otherwise ""."""
    for mark, name in BOMS.items():
        if start.startswith(mark):
            return name
    n = len(start) // 2
    zeros = start[0 : 2 * n : 2].count(0), start[1 : 2 * n : 2].count(0)
    # Separators and digits have a zero byte each; other letters may have none.
    if n and min(zeros) * 20 < max(zeros) and max(zeros) * 4 > n:
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    return ""


def guess_encoding(error: NotUtf8Error) -> str:
    """Return the probable encoding of a text that is not UTF-8.

    Raises:
        ConfigError: if most of the text is UTF-8, or no encoding fits.
    """
    text = error.sample.decode("utf-8", "replace")
    n_bad = text.count("\ufffd")
    n_good = error.n_valid + sum(not char.isascii() for char in text) - n_bad
    if n_good > 2 * n_bad:
        problem = f"line {error.line}: the byte 0x{error.byte:02x} is not valid in UTF-8, which the rest of the file is"
        raise ConfigError(f'{problem}. Correct it, or set data.encoding = "cp1252" to read the file as it is.')
    lines = [line for line in re.split(rb"[\r\n]+", error.sample) if not line.isascii()]
    sample = b"\n".join(lines)[:SAMPLE]
    if _is_western(sample):
        return "cp1252"
    from charset_normalizer import from_bytes  # reads its tables of letters, which takes 0.1 s

    best = from_bytes(sample, cp_isolation=CANDIDATES).best()
    if best is None:
        problem = f"line {error.line}: the byte 0x{error.byte:02x} is not valid in UTF-8, and no other encoding fits"
        raise ConfigError(f"{problem}. If it is a text file, set data.encoding.")
    return best.encoding


def _is_western(sample: bytes) -> bool:
    """Return whether the letters outside ASCII are usual ones of cp1252; charset_normalizer needs longer texts."""
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    runs = re.finditer(r"[^\0-\x7f]+", text)
    return all(len(run[0]) <= LONGEST_WESTERN and WESTERN.fullmatch(text, *run.span()) for run in runs)


def check_encoding(encoding: str) -> None:
    """Refuse the name of an encoding that does not exist.

    Raises:
        ConfigError: with the most similar name.
    """
    if encoding == "auto":
        return
    try:
        codecs.getincrementaldecoder(encoding)
        "".encode(encoding)  # refuses codecs that are not encodings of texts, such as zip
    except (LookupError, TypeError, AttributeError, ValueError):
        known = ["utf-8", "utf-16", "latin-1", *CANDIDATES]
        problem = f'must be an encoding such as utf-8 or cp1252, got "{shortened(encoding)}".'
        raise ConfigError(problem + did_you_mean(encoding, known), path="encoding") from None
