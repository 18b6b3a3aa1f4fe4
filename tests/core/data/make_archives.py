#!/usr/bin/python3
"""Writes samples/archives/: folders of small images, and archives of them as Python's zipfile and tarfile write them.

usage: make_archives.py   (needs python3-numpy and python3-pil; the files are committed)

Image n is a PNG of 4 x 6 whose pixel [h, w, c] is (37 n + 11 h + 5 w + 3 c) mod 251, grey but where it is said. The folder
classes/ has n by its files' names in CLASSES, splits/ in SPLITS. CLASSES.* are archives of the first, SPLITS.* of the
second. labels* have CSV lists. What has to be refused is called refused_REASON.
"""
import gzip
import io
import os
import shutil
import stat
import tarfile
import zipfile

import numpy as np
from PIL import Image

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples", "archives")

# In the order of bytes; a2 comes after a10, and the accent after all of ASCII.
CLASSES = {"cat/a10.png": 0, "cat/a2.png": 1, "cat/b.jpg": 2, "dog/x.PNG": 3, "\u00e9l\u00e9phant/y.png": 4}
SPLITS = {"Test/dog/c.png": 0, "Test/eel/d.png": 1, "Train/cat/a.png": 2, "Train/dog/b.png": 3}
IGNORED = [".DS_Store", "cat/._a10.png", "__MACOSX/cat/._b.jpg", "dog/Thumbs.db"]


def image(n, channels=1, height=4, width=6):
    h, w, c = np.indices((height, width, channels))
    pixels = ((37 * n + 11 * h + 5 * w + 3 * c) % 251).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(name, data):
    path = os.path.join(HERE, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def files_of(names):
    return {name: image(n) for name, n in names.items()}


def zipped(files, method=zipfile.ZIP_DEFLATED, modes=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.create_system = 3
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def tarred(files, kind=tarfile.GNU_FORMAT, types=None):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.type = (types or {}).get(name, tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE)
            if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = "cat/a.png"
            else:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def gz(data):
    return gzip.compress(data, mtime=0)


def around(folder, files):
    return [(folder + "/" + name, data) for name, data in files]


def good():
    classes = files_of(CLASSES)
    splits = files_of(SPLITS)
    for name, data in classes.items():
        write("classes/" + name, data)
    for name, data in splits.items():
        write("splits/" + name, data)
    backwards = list(classes.items())[::-1]
    with_more = [("cat/", b""), *backwards, *((name, b"no image") for name in IGNORED)]
    write("classes.zip", zipped(with_more))
    write("classes_stored.zip", zipped(around("wrapper", backwards), zipfile.ZIP_STORED))
    write("classes.tar.gz", gz(tarred([("./", b"")] + around(".", with_more))))
    write("classes_pax.tar.gz", gz(tarred(around("wrapper", backwards), tarfile.PAX_FORMAT)))
    # Without what fills it up to 10,240 bytes.
    ustar = tarred([item for item in backwards if item[0].isascii()], tarfile.USTAR_FORMAT)
    write("ascii_ustar.tar", ustar.rstrip(b"\0") + bytes(1024 + -len(ustar.rstrip(b"\0")) % 512))
    write("splits.zip", zipped(around("wrapper", splits.items())))
    write("splits.tgz", gz(tarred(splits.items())))


def lists():
    images = {f"img/{n}.png": image(n) for n in range(4)}
    labels = b"id,path,label\r\n3,img/3.png,7\r\n2,img/1.png,10\r\n1,img/0.png,7\r\n"
    files = [("labels.csv", labels), *images.items()]
    write("labels.zip", zipped(files))
    write("labels.tar.gz", gz(tarred(around("wrapper", files))))
    for name, data in files:
        write("labels/" + name, data)
    per_split = [("train.csv", b"image,class\n1.png,a\n0.png,b\n"), ("test.csv", b"image,class\n3.png,a\n")]
    write("split_lists.zip", zipped(per_split + [(f"{n}.png", image(n)) for n in range(4)]))


def shapes():
    write("sizes.zip", zipped([("cat/a.png", image(0)), ("cat/b.png", image(1)), ("dog/c.png", image(2, height=5))]))
    write("colours.tar.gz", gz(tarred([("cat/a.png", image(0)), ("dog/b.png", image(1, channels=3))])))
    # As Pillow brings them to 3 x 4: mixed_1.raw grey, mixed_3.raw RGB, one image after another, the cats around the dog.
    mixed = [("cat/a.png", image(0, 3, 9, 7)), ("cat/b.png", image(1)), ("dog/c.png", image(2, 3, 2, 2))]
    write("mixed.zip", zipped(mixed))
    for mode, channels in (("L", 1), ("RGB", 3)):
        opened = [Image.open(io.BytesIO(data)).convert(mode).resize((4, 3), Image.BILINEAR) for _, data in
                  (mixed[0], mixed[2], mixed[1])]
        write(f"mixed_{channels}.raw", b"".join(np.asarray(one).tobytes() for one in opened))
    write("rgb.zip", zipped([("cat/a.png", image(0, 3)), ("dog/b.png", image(1, 3))]))


def refused():
    a = ("cat/a.png", image(0))
    b = ("dog/b.png", image(1))

    def both(reason, files, zip_modes=None, tar_types=None):
        write(f"refused_{reason}.zip", zipped(files, modes=zip_modes))
        write(f"refused_{reason}.tar.gz", gz(tarred(files, types=tar_types)))

    both("parent", [a, ("cat/../../b.png", b[1])])
    both("absolute", [a, ("/cat/b.png", b[1])])
    both("control", [a, ("cat/b\n.png", b[1])])
    both("twice", [a, b, a])
    both("symlink", [a, ("cat/link.png", b"a.png")], {"cat/link.png": stat.S_IFLNK | 0o777},
         {"cat/link.png": tarfile.SYMTYPE})
    both("device", [a, ("cat/device.png", b"")], {"cat/device.png": stat.S_IFCHR | 0o777},
         {"cat/device.png": tarfile.CHRTYPE})
    both("pipe", [a, ("cat/pipe.png", b"")], {"cat/pipe.png": stat.S_IFIFO | 0o777},
         {"cat/pipe.png": tarfile.FIFOTYPE})
    both("text", [a, ("cat/notes.txt", b"no image")])
    both("nested", [a, ("cat/more/b.png", b[1])])
    both("beside", [a, ("b.png", b[1])])
    write("refused_hardlink.tar.gz", gz(tarred([a, ("cat/link.png", b"")], types={"cat/link.png": tarfile.LNKTYPE})))
    write("refused_no_end.tar.gz", gz(tarred([a, b])[:4 * 512]))
    write("refused_followed.tar.gz", gz(tarred([a]) + tarred([b])))
    # The bit that says that a member is encrypted, in its own header and in the directory.
    plain = bytearray(zipped([a]))
    plain[6] |= 1
    plain[plain.index(b"PK\x01\x02") + 8] |= 1
    write("refused_encrypted.zip", bytes(plain))
    write("refused_bomb.zip", zipped([a, ("cat/b.png", b[1] + bytes(3 << 20))]))
    write("refused_bomb.tar.gz", gz(tarred([a, ("cat/b.png", b[1] + bytes(3 << 20))])))


shutil.rmtree(HERE, ignore_errors=True)
good()
lists()
shapes()
refused()
