#!/usr/bin/python3
"""Writes samples/: small files as NumPy and Python's gzip and zipfile write them, for the readers to be tested on.

usage: make_samples.py   (needs python3-numpy; the files are committed; make_image_samples.py writes PNG and JPEG files)

Pixel [n, h, w, c] of every array is (37 n + 11 h + 5 w + 3 c) mod 251, plus 0.25 in floating-point arrays; the label of
sample n is (7 n + 3) mod 10. The tests know no more than that. The files matrix_KIND.npz have X of every real type,
byte order and order of dimensions, and images_KIND.idx images of every type, with pixels mod 101, so that int8 holds
them, and bool True where that is odd.
"""
import gzip
import io
import os
import struct
import zipfile

import numpy as np

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples")


def pixels(n, h, w, c):
    i = np.indices((n, h, w, c))
    return ((37 * i[0] + 11 * i[1] + 5 * i[2] + 3 * i[3]) % 251).astype(np.uint8)


def labels(n):
    return (7 * np.arange(n) + 3) % 10


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(data)


def npz(name, compressed=False, **arrays):
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    write(name, buffer.getvalue())


def npy(array, version=None):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version)
    return buffer.getvalue()


def arrays():
    x = pixels(5, 4, 6, 3)
    f = x.astype(np.float64) + 0.25
    y = labels(5)
    npz("u8.npz", X=x, Y=y.astype(np.uint8))
    npz("u8_deflated.npz", True, X=x, Y=y.astype(np.uint8))
    npz("lower_case.npz", x=x, y=y.astype(np.int64))
    npz("f32.npz", X=f.astype(np.float32), Y=y.astype(np.int32))
    npz("f64_deflated.npz", True, X=f, Y=y.astype(np.float64))
    npz("u8_fortran.npz", X=np.asfortranarray(x), Y=y)
    npz("f32_big_endian.npz", X=f.astype(">f4"), Y=y.astype(">i4"))
    npz("f64_big_endian_fortran.npz", X=np.asfortranarray(f.astype(">f8")), Y=y.astype(">f8"))
    npz("u8_channels_first.npz", X=np.ascontiguousarray(x.transpose(0, 3, 1, 2)), Y=y)
    npz("f32_channels_first_fortran.npz",
        X=np.asfortranarray(f.astype(np.float32).transpose(0, 3, 1, 2)), Y=y)
    grey = pixels(5, 6, 6, 1)
    npz("grey_rank3.npz", X=grey.reshape(5, 6, 6), Y=y)
    npz("grey_flat.npz", X=grey.reshape(5, 36), Y=y)
    npz("grey_flat_fortran.npz", X=np.asfortranarray(grey.reshape(5, 36)), Y=y)
    for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i2", ">u4", ">i8", "f4", "f8", ">f4"):
        npz("labels_" + kind.replace(">", "be_") + ".npz", X=x, Y=y.astype(kind))
    npz("labels_bool.npz", X=x, Y=np.array([True, False, True, True, False]))
    npz("labels_column.npz", X=x, Y=y.reshape(5, 1))
    # To be refused.
    # Named as Keras' mnist.npz: the test images are the last two of the seven.
    seven = np.indices((7, 6, 5))
    seven = ((37 * seven[0] + 11 * seven[1] + 5 * seven[2]) % 251).astype(np.uint8)
    keras = dict(x_test=seven[5:], x_train=seven[:5], y_train=labels(7)[:5].astype(np.uint8),
                 y_test=labels(7)[5:].astype(np.uint8))
    npz("keras.npz", True, **keras)
    npz("keras_and_more.npz", **keras, x_val=seven[:1], y_val=labels(1), x_mean=seven.mean(0))
    npz("keras_train.npz", x_train=keras["x_train"], y_train=keras["y_train"])
    npz("keras_no_y_test.npz", **{k: v for k, v in keras.items() if k != "y_test"})
    npz("keras_fewer_labels.npz", **dict(keras, y_test=labels(1)))
    npz("keras_hostile.npz", **{"x_../up": seven[:1], "y_../up": labels(1)})
    npz("one_hot.npz", X=x, Y=np.eye(10, dtype=np.float32)[y])
    npz("object.npz", X=x, Y=np.array([1, "a", None, 2, 3], dtype=object))
    npz("object_x.npz", X=np.array([1, None], dtype=object), Y=y)
    npz("structured.npz", X=x, Y=np.zeros(5, dtype=[("a", "i4"), ("b", "f4")]))
    npz("strings.npz", X=x, Y=np.array(["cat", "dog", "cat", "cat", "dog"]))
    npz("f16.npz", X=f.astype(np.float16), Y=y)
    npz("i64.npz", X=x.astype(np.int64), Y=y)
    npz("complex.npz", X=x.astype(np.complex64), Y=y)
    npz("no_y.npz", X=x, labels=y)
    npz("no_x.npz", images=x, Y=y)
    npz("both_cases.npz", X=x, x=x, Y=y)
    npz("fewer_labels.npz", X=x, Y=y[:4])
    npz("no_images.npz", X=x[:0], Y=y[:0])
    npz("flat_3072.npz", X=np.zeros((2, 3072), np.uint8), Y=y[:2])
    npz("rank1.npz", X=np.zeros(5, np.uint8), Y=y)
    npz("rank5.npz", X=np.zeros((5, 1, 2, 2, 1), np.uint8), Y=y)
    npz("channels_unclear.npz", X=np.zeros((5, 3, 8, 3), np.uint8), Y=y)
    npz("no_channels.npz", X=np.zeros((5, 8, 8, 8), np.uint8), Y=y)
    bad = f.astype(np.float32)
    bad[3, 2, 1, 0] = np.nan
    npz("nan.npz", X=bad, Y=y)
    bad = f.copy()
    bad[1, 0, 5, 2] = 1e300
    npz("beyond_f32.npz", X=bad, Y=y)
    npz("label_1_5.npz", X=x, Y=np.array([0, 1, 1.5, 2, 3]))
    npz("label_negative.npz", X=x, Y=np.array([0, 1, 2, -1, 3]))
    npz("label_nan.npz", X=x, Y=np.array([0, np.nan, 2, 1, 3]))
    npz("label_2_64.npz", X=x, Y=np.array([0, 2**64 - 1, 2, 1, 3], dtype=np.uint64))

    write("v1.npy", npy(x, (1, 0)))
    write("v2.npy", npy(x, (2, 0)))
    write("v3.npy", npy(x, (3, 0)))
    write("i4_vector.npy", npy(y.astype("<i4"), (1, 0)))

    def zipped(name, method, members):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as z:
            for member, data in members:
                z.writestr(member, data)
        write(name, buffer.getvalue())

    zipped("bzip2.npz", zipfile.ZIP_BZIP2, [("X.npy", npy(x)), ("Y.npy", npy(y))])
    zipped("climbing.npz", zipfile.ZIP_STORED, [("../X.npy", npy(x)), ("/Y.npy", npy(y))])
    zipped("not_npy.npz", zipfile.ZIP_STORED, [("X.npy", b"<html>"), ("Y.npy", npy(y))])
    # 64 MiB of zeros in 64 KiB.
    zipped("bomb.npz", zipfile.ZIP_DEFLATED, [("X.npy", bytes(1 << 26)), ("Y.npy", npy(y))])


def matrix():
    """Every real type of NumPy's as X, in both byte orders, in C and Fortran order."""
    x = pixels(3, 4, 5, 2) % 101
    y = labels(3)
    kinds = ["|b1", "|i1", "|u1"]
    kinds += [order + kind for kind in ("i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8") for order in "<>"]
    for kind in kinds:
        values = (x % 2 if kind == "|b1" else x + 0.25 if "f" in kind else x).astype(kind)
        name = {"|": "", "<": "le_", ">": "be_"}[kind[0]] + kind[1:]
        npz(f"matrix_{name}_c.npz", X=values, Y=y)
        npz(f"matrix_{name}_fortran.npz", True, X=np.asfortranarray(values), Y=y)
    # Halves of both signs and every finite exponent, the smallest ones of each among them, and NumPy's floats of them.
    halves = [s << 15 | e << 10 | m for s in (0, 1) for e in range(31) for m in (0, 1, 2, 0x155, 0x200, 0x3FF)]
    halves = np.array(halves, dtype=np.uint16).view(np.float16).reshape(1, 2, -1)
    npz("halves.npz", True, X=halves, Y=y[:1])
    npz("halves_f32.npz", True, X=halves.astype(np.float32), Y=y[:1])
    wide = x.astype(np.int16)
    wide[2, 1, 4, 0] = 256
    npz("beyond_255.npz", X=wide, Y=y)
    npz("beyond_255_u8.npz", X=np.where(wide == 256, 2**64 - 1, wide.astype(np.uint64)).astype(np.uint64), Y=y)
    npz("negative.npz", X=np.where(wide == 256, -1, wide).astype(np.int8), Y=y)
    npz("infinite_f16.npz", X=np.where(wide == 256, np.inf, wide).astype(np.float16), Y=y)
    npz("f128.npz", X=x.astype(np.longdouble), Y=y)
    npz("single_x.npz", X=np.uint8(7), Y=y)
    npz("single_y.npz", X=x, Y=np.int64(7))
    npz("labels_f2.npz", X=pixels(5, 4, 6, 3), Y=labels(5).astype(np.float16))

    def versioned(name, version):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as z:
            for member, array in (("X", pixels(5, 4, 6, 3)), ("Y", labels(5))):
                z.writestr(zipfile.ZipInfo(member + ".npy"), npy(array, version))
        write(name, buffer.getvalue())

    versioned("npy_2.npz", (2, 0))
    versioned("npy_3.npz", (3, 0))
    # What files beyond 4 GiB have, which Python writes from a limit on that can be set: members' sizes and offsets in
    # their extra fields, the directory's in a record of its own, and ones in the places that are too small for them.
    limit, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, 16
    for name, compressed in (("zip64.npz", False), ("zip64_deflated.npz", True)):
        buffer = io.BytesIO()
        (np.savez_compressed if compressed else np.savez)(buffer, X=pixels(5, 4, 6, 3), Y=labels(5))
        end = buffer.getvalue().rindex(b"PK\5\6")
        write(name, buffer.getvalue()[:end + 8] + b"\xff" * 12 + b"\0\0")
    zipfile.ZIP64_LIMIT = limit

    class Pipe(io.BytesIO):
        """Into a pipe sizes come after the members."""

        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation("seek")

        def tell(self):
            raise io.UnsupportedOperation("tell")

    pipe = Pipe()
    np.savez_compressed(pipe, X=pixels(5, 4, 6, 3), Y=labels(5))
    write("piped.npz", pipe.getvalue())


def idx():
    """Every type of IDX, its elements by NumPy; the headers are the format's description."""
    x = pixels(3, 4, 5, 1)[..., 0] % 101
    for code, kind in ((8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")):
        values = (x + 0.25 if "f" in kind else x).astype(">" + kind)
        whole = struct.pack(">HBB3I", 0, code, 3, *x.shape) + values.tobytes()
        write(f"images_{kind}.idx", whole)
        write(f"labels_{kind}.idx", struct.pack(">HBBI", 0, code, 1, 3) + labels(3).astype(">" + kind).tobytes())
        if kind in ("u1", "f4"):
            write(f"images_{kind}.idx.gz", gzip.compress(whole, mtime=0))


def cifar():
    """Three records of CIFAR-100, by the description of its binary version: coarse label, fine label, planes."""
    planes = pixels(3, 32, 32, 3).transpose(0, 3, 1, 2).reshape(3, -1)
    coarse = np.array([[19], [0], [7]], np.uint8)
    fine = np.array([[99], [0], [42]], np.uint8)
    records = np.concatenate([coarse, fine, planes], axis=1).tobytes()
    write("cifar100.bin", records)
    write("cifar100.bin.gz", gzip.compress(records, mtime=0))


def gzips():
    data = bytes(range(256)) * 8
    one = gzip.compress(data, mtime=0)
    write("plain.gz", one)
    write("two_members.gz", gzip.compress(data[:1000], mtime=0) + gzip.compress(data[1000:], mtime=0))
    buffer = io.BytesIO()
    with gzip.GzipFile("a name", "wb", fileobj=buffer, mtime=0) as f:
        f.write(data)
    write("named.gz", buffer.getvalue())
    write("nothing.gz", gzip.compress(b"", mtime=0))
    write("bomb.gz", gzip.compress(bytes(1 << 26), mtime=0))


os.makedirs(HERE, exist_ok=True)
arrays()
matrix()
idx()
cifar()
gzips()
