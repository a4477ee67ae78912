"""CIFAR's files are pickles that nobody unpickles: the published form is read, everything else is refused."""

import pickle
import struct

import numpy as np
import pytest

from ecp.errors import UsageError
from ecp.model.cifar import parse

PIXELS = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)


def published(pixels, labels):
    """The bytes that Python 2's cPickle wrote: protocol 2, text as bytes, binary strings."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    raw = pixels.tobytes()
    shape = b"".join(b"M" + struct.pack("<H", n) for n in pixels.shape)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87Rq\x08"
        b"(K\x01" + shape + b"\x86cnumpy\ndtype\nq\x09U\x02u1K\x00K\x01\x87Rq\x0a"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    )
    numbers = b"".join(b"K" + bytes([n]) for n in labels)
    parts = text(b"batch_label") + b"q\x02" + text(b"testing batch 1 of 1") + b"q\x03"
    parts += text(b"labels") + b"q\x04]q\x05(" + numbers + b"e" + text(b"data") + array
    return b"\x80\x02}q\x01(" + parts + b"u."


def test_the_published_form():
    data = parse(published(PIXELS, [7, 200]), "test_batch")
    assert np.array_equal(data["data"], PIXELS) and data["labels"] == [7, 200]
    assert data["batch_label"] == "testing batch 1 of 1"
    # The bytes made here are what a real unpickler reads as the same thing.
    real = pickle.loads(published(PIXELS, [7, 200]), encoding="latin1")
    assert np.array_equal(real["data"], PIXELS) and real["labels"] == [7, 200]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_written_again_by_python_3(protocol):
    data = parse(pickle.dumps({"data": PIXELS, "fine_labels": [1, 2], "names": ["a", "é"]}, protocol), "f")
    assert np.array_equal(data["data"], PIXELS)
    assert (data["fine_labels"], data["names"]) == ([1, 2], ["a", "é"])


class Evil:
    def __reduce__(self):
        return (print, ("ran code from a data file",))


def forged_dtype(code):
    """The published form with another type in place of unsigned bytes."""
    return published(PIXELS, [1, 2]).replace(b"U\x02u1", b"U\x02" + code)


HOSTILE = {
    "a call": pickle.dumps({"data": Evil(), "labels": []}),
    "a call in text form": pickle.dumps({"data": Evil()}, protocol=0),
    "an object array from raw bytes": forged_dtype(b"O8"),
    "a void type": forged_dtype(b"V8"),
    "wider numbers": forged_dtype(b"i8"),
    "an array longer than its bytes": published(PIXELS, [1]).replace(b"M\x02\x00", b"M\xff\xff"),
    "columns first": published(PIXELS, [1]).replace(b"\x89T", b"\x88T"),
    "an array without content": b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n)Rs.",
    "another module": b"\x80\x02cos\nsystem\nU\x02ls\x85R.",
    "os.system by its stack": pickle.dumps({"a": Evil()}, protocol=4).replace(b"print", b"input"),
    "build on a list": b"\x80\x02]}b.",
    "build on a number": b"\x80\x02K\x01}b.",
    "an instance": b"\x80\x02(i__builtin__\nobject\n.",
    "a new object": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "an extension code": b"\x80\x02\x82\x01.",
    "a persistent id": b"\x80\x02U\x01aQ.",
    "nothing below a mark": b"\x80\x02}u.",
    "a tuple without a mark": b"\x80\x02t.",
    "an empty stack": b"\x80\x02b.",
    "a mark as value": b"\x80\x02}U\x01a(s.",
    "an unknown memo": b"\x80\x02h\x07.",
    "a list as key": b"\x80\x02}]K\x01s.",
    "names that are numbers": b"\x80\x02}K\x01K\x01s.",
    "a long string that is not there": b"\x80\x02T\xff\xff\xff\x7f.",
    "a negative length": b"\x80\x02T\xff\xff\xff\xff.",
    "a list on top": b"\x80\x02].",
    "two values": b"\x80\x02}}.",
    "no end": b"\x80\x02}",
    "deep nesting": b"\x80\x02}U\x01a" + b"K\x00" + b"\x85" * 100_000 + b"Rs.",
    "a dtype of nesting": b"\x80\x02}U\x01acnumpy\ndtype\nK\x00" + b"\x85" * 100_000 + b"Rs.",
    "doubling": b"\x80\x02}U\x01acnumpy\ndtype\nK\x00" + b"q\x01h\x01\x86" * 60 + b"Rs.",
    "empty": b"",
    "text": b"junk",
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_forged_files_are_refused_and_run_nothing(name, capsys):
    with pytest.raises(UsageError, match="forged is damaged or not a data file") as caught:
        parse(HOSTILE[name], "forged")
    assert len(str(caught.value)) < 300
    assert capsys.readouterr().out == ""


def test_no_single_damaged_byte_is_a_traceback():
    whole = published(PIXELS[:1, :4].copy(), [7])
    rng = np.random.default_rng(0)
    refused = 0
    for position in range(len(whole)):
        for value in rng.integers(0, 256, 12):
            damaged = whole[:position] + bytes([int(value)]) + whole[position + 1 :]
            try:
                parse(damaged, "f")
            except UsageError:
                refused += 1
    assert refused > len(whole)
