"""Weight files that a stranger has made to be small and to cost much, or to run something.

``FILES`` has a writer for each, given the path to write.
"""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

MEBIBYTE = 1 << 20


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def call(name: str, arguments: bytes) -> bytes:
    """Opcodes of a call, by a full name."""
    return b"c" + "\n".join(name.rsplit(".", 1)).encode() + b"\n(" + arguments + b"tR"


def doubled(empty: bytes, join: bytes, times: int = 60) -> bytes:
    """Opcodes of a container that holds one container twice, and so on, ``times`` deep."""
    opcodes = empty + b"q\x00"
    for index in range(times):
        inner = b"h" + bytes([index])
        opcodes += join % (inner, inner) + b"q" + bytes([index + 1])
    return opcodes


TUPLES = doubled(b")", b"%s%s\x86")
LISTS = doubled(b"]", b"](%s%se")
MAPPINGS = doubled(b"}", b"}(X\x01\x00\x00\x00a%sX\x01\x00\x00\x00b%su")


def tensor(num_values: int, size: bytes, stride: bytes, key: str = "0") -> bytes:
    """Opcodes of a tensor of float32 in a storage, as torch.save writes them."""
    kind = b"ctorch\nFloatStorage\n"
    storage = b"(" + text("storage") + kind + text(key) + text("cpu") + number(num_values) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    return call(
        "torch._utils._rebuild_tensor_v2", storage + b"K\x00" + size + stride + b"\x89" + hooks
    )


def mapping(key: bytes, value: bytes) -> bytes:
    """A whole pickle of a mapping with one item."""
    return b"\x80\x02}" + key + value + b"s."


WEIGHT = text("weight")
# Pickles by what they do; a file of torch.save holds each, or Detectron2's format is each.
PICKLES = {
    "memo index of 2**31": b"\x80\x02}r\xff\xff\xff\x7f" + WEIGHT + b"K\x01s.",
    "doubled tuples as a key": mapping(TUPLES, b"K\x01"),
    "doubled tuples in a set": mapping(WEIGHT, call("builtins.set", b"]" + TUPLES + b"a")),
    "doubled lists": mapping(WEIGHT, LISTS),
    "doubled mappings": mapping(WEIGHT, MAPPINGS),
    "list that holds itself": mapping(WEIGHT, b"]q\x00h\x00a"),
    "lists 50,000 deep": mapping(WEIGHT, b"]" * 50_000 + b"a" * 49_999),
    "tuples 50,000 deep": mapping(WEIGHT, b")" + b"\x85" * 50_000),
    "tuples 50,000 deep as a key": mapping(b")" + b"\x85" * 50_000, b"K\x01"),
    "250,000 objects": mapping(WEIGHT, b"](" + b"N" * 250_000 + b"e"),
    "text of 4 GB": b"\x80\x02}X\xff\xff\xff\xffabc",
    "text of 1 TB": b"\x80\x04}\x8d" + struct.pack("<Q", 1 << 40) + b"abc",
    "bytearray of 64 GB": b"\x80\x05}\x96" + struct.pack("<Q", 1 << 36) + b"abc",
    "frame of 1 TB": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"}.",
    "number of 2 GB": b"\x80\x02}\x8b\xff\xff\xff\x7fabc",
    "call of bytearray": mapping(WEIGHT, call("builtins.bytearray", number(2_000_000_000))),
    "call of a tensor type": mapping(WEIGHT, call("torch.FloatTensor", number(2_000_000_000))),
    "call of a text": mapping(WEIGHT, WEIGHT + b")R"),
    "call of doubled lists": mapping(WEIGHT, LISTS + b")R"),
    "copies of a list": mapping(
        WEIGHT,
        b"](" + b"".join(b"M" + struct.pack("<H", n) for n in range(2000)) + b"eq\x00(]"
        + b"cbuiltins\nset\n(h\x00tR" * 2000 + b"t",
    ),
    "copies of a text": mapping(
        WEIGHT,
        text("x" * 200_000) + b"q\x00("
        + (b"c_codecs\nencode\n(h\x00" + text("latin1") + b"tR") * 3000 + b"t",
    ),
    "another codec": mapping(WEIGHT, call("_codecs.encode", WEIGHT + text("zip_codec"))),
    "system": mapping(WEIGHT, call("os.system", text("touch executed"))),
    "getattr": mapping(WEIGHT, call("builtins.getattr", WEIGHT + text("upper"))),
    "name with a dot": b"\x80\x04}"
    + WEIGHT
    + text("torch")
    + text("serialization.os.system")
    + b"\x93)Rs.",
    "object without a call": mapping(WEIGHT, b"csubprocess\nPopen\n(tR"),
    "instance": b"\x80\x02}" + WEIGHT + b"(" + WEIGHT + b"ios\nsystem\ns.",
    "extension": mapping(WEIGHT, b"\x82\x01"),
    "nothing on the stack": b"\x80\x02ss.",
    "mark as an object": b"\x80\x02}(ss.",
}  # fmt: skip
TENSORS = {
    "storage of 4 GB": tensor(1 << 30, number(1 << 30) + b"\x85", b"K\x01\x85"),
    "storage of 8 PB": tensor(
        1, b"\x8a\x07" + (1 << 51).to_bytes(7, "little") + b"\x85", b"K\x01\x85"
    ),
    "tensor larger than its storage": tensor(4, number(1 << 30) + b"\x85", b"K\x01\x85"),
    "tensor that repeats its storage": tensor(4, number(1 << 30) + b"\x85", b"K\x00\x85"),
    "negative size": tensor(4, number(-4) + b"\x85", b"K\x01\x85"),
    "size of texts": tensor(4, WEIGHT + b"\x85", b"K\x01\x85"),
    "missing storage": tensor(4, b"K\x04\x85", b"K\x01\x85", key="7"),
    "storage outside": tensor(4, b"K\x04\x85", b"K\x01\x85", key="../../etc/passwd"),
}


def torch_archive(content: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file as of torch.save, with 16 bytes of storage, and any pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("a/data.pkl", content)
        archive.writestr("a/byteorder", "little")
        archive.writestr("a/data/0", bytes(16))
        archive.writestr("a/version", "3\n")
    return buffer.getvalue()


def torch_legacy(content: bytes) -> bytes:
    """An old file of torch.save, with any pickle."""
    buffer = io.BytesIO()
    torch.save({}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue().replace(pickle.dumps({}, protocol=2), content, 1)


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(shape: Sequence[int], dtype: str = "<f4", content: bytes = b"1234") -> bytes:
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {tuple(shape)}, }}\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def overlapping_npz() -> bytes:
    """3000 names of one member of 1 MB."""
    whole = npz({"a.npy": npy([MEBIBYTE // 4], content=bytes(MEBIBYTE))})
    directory = whole.index(b"PK\x01\x02")
    entry = whole[directory : whole.index(b"PK\x05\x06")]
    entries = b"".join(
        entry[:28] + struct.pack("<H", 9) + entry[30:46] + b"a%04d.npy" % i for i in range(3000)
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3000, 3000, len(entries), directory, 0)
    return whole[:directory] + entries + end


def safetensors(header: str | bytes, content: bytes = b"", length: int | None = None) -> bytes:
    data = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(data) if length is None else length) + data + content


def described(**tensors: tuple) -> str:
    """Header of safetensors: shape, begin and end of each."""
    return json.dumps(
        {n: {"dtype": "F32", "shape": s, "data_offsets": o} for n, (s, *o) in tensors.items()}
    )


def shared_arrays(count: int = 500) -> bytes:
    """A Detectron2 file of many arrays of one text of bytes."""
    whole = pickle.dumps({"a": np.zeros(50_000, np.float32)}, protocol=5)
    loaded = pickle.loads(whole)
    assert loaded["a"].nbytes == 200_000
    opcodes = text("x" * 200_000) + b"q\x00"
    array = b"cnumpy.core.numeric\n_frombuffer\n(h\x00cnumpy\ndtype\n" + text("f4")
    array += b"\x85R" + number(50_000) + b"\x85" + text("C") + b"tR"
    items = b"".join(text(f"a{index}") + array for index in range(count))
    return b"\x80\x02" + opcodes + b"0}(" + items + b"u."


def large_header(path: Path) -> None:
    """A header of 2 GB in a file of 3 GB that takes no place on the disk."""
    with path.open("wb") as file:
        file.write(safetensors('{"a":', length=2 << 30))
        file.truncate(3 << 30)


def _file(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


FILES: dict[str, Callable[[Path], object]] = {
    **{f"torch: {name}": _file(torch_archive(p)) for name, p in PICKLES.items()},
    **{f"old torch: {name}": _file(torch_legacy(p)) for name, p in PICKLES.items()},
    **{f"Detectron2: {name}": _file(p) for name, p in PICKLES.items()},
    **{f"torch: {n}": _file(torch_archive(mapping(WEIGHT, p))) for n, p in TENSORS.items()},
    **{f"old torch: {n}": _file(torch_legacy(mapping(WEIGHT, p))) for n, p in TENSORS.items()},
    "torch: deflate bomb": lambda path: path.write_bytes(
        torch_archive(bytes(100 * MEBIBYTE), zipfile.ZIP_DEFLATED)
    ),
    "torch: no pickle": _file(npz({"a/version": b"3"})),
    "torch: program": _file(npz({"a/constants.pkl": b"", "a/data.pkl": b""})),
    "torch: comment": _file(torch_archive(b"\x80\x02}.")[:-2] + b"\x04\x00abcd"),
    "Detectron2: shared arrays": lambda path: path.write_bytes(shared_arrays()),
    "npz: header of terabytes": _file(npz({"a.npy": npy([10**13])})),
    "npz: header of 20 GB": _file(npz({"a.npy": npy([5 * 10**9])})),
    "npz: numbers of 1 GB": _file(npz({"a.npy": npy([1], "|V1000000000")})),
    "npz: negative size": _file(npz({"a.npy": npy([-1])})),
    "npz: deep header": _file(npz({"a.npy": npy([1], "(" * 5000)})),
    "npz: deflate bomb": lambda path: path.write_bytes(
        npz({"a.npy": npy([25 * MEBIBYTE], content=bytes(100 * MEBIBYTE))}, zipfile.ZIP_DEFLATED)
    ),
    "npz: overlapping members": _file(overlapping_npz()),
    "npz: no directory": _file(npz({"a.npy": npy([1])})[:-22]),
    "npz: two members of one name": _file(
        npz({"a.npy": npy([1]), "b.npy": npy([1])}).replace(b"b.npy", b"a.npy")
    ),
    "safetensors: header of 2 GB": large_header,
    "safetensors: header longer than the file": _file(safetensors("{", length=1 << 39)),
    "safetensors: header of 2**60": _file(safetensors("{", length=1 << 60)),
    "safetensors: overlapping": _file(
        safetensors(described(a=([4], 0, 16), b=([4], 8, 24)), bytes(24))
    ),
    "safetensors: outside": _file(safetensors(described(a=([4], 0, 1 << 40)), bytes(16))),
    "safetensors: other size": _file(safetensors(described(a=([1 << 40], 0, 16)), bytes(16))),
    "safetensors: deep header": _file(safetensors('{"a":' + "[" * 1_000_000)),
    "safetensors: no end": _file(safetensors('{"a":')),
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to(path.with_name("nothing")),
    "link to itself": lambda path: path.symlink_to(path),
    "gzip": _file(b"\x1f\x8b\x08\x00" + bytes(100)),
    "deep JSON": _file(b"[" * 1_000_000),
    "index of files": _file(b'{"weight_map": {"a": "model-1-of-2.safetensors"}}'),
}
