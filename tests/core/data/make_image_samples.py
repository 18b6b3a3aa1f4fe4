#!/usr/bin/python3
"""Writes PNG and JPEG files into samples/, and what their pixels have to become.

usage: make_image_samples.py   (needs python3-numpy and python3-pil; the files are committed)

samples/: files as PIL writes them, with the pixels of make_samples.py (n is 0), and what JPEG files decode to.
samples/images/KIND.png or .jpg and KIND.raw: a file of each kind, and its pixels as DecodeImage has to give them, 8
bits, grey or RGB, blended onto white and upright. They are worked out in numpy by the PNG specification, and where PIL
reads the kind, it has to agree; what JPEG files decode to is PIL's.
samples/images/resize_SOURCE.png and .raw: an image, and what PIL makes of it at each of SIZES, one after another.
samples/images/whole_grey.raw and whole_rgb.raw: whole.png at 28 x 28 after all steps of the conversion, by PIL,
inverted.
samples/images/photo.raw: photo.png, which is 4000 x 3000, grey at 28 x 28.
"""
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples")
# Height and width; the test has the same.
SIZES = [(28, 28), (32, 32), (7, 5), (1, 1), (1, 50), (50, 1), (23, 15), (40, 31), (64, 3)]
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
# Adam7: passes as (first row, first column, row step, column step).
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def pixels(h, w, c):
    i = np.indices((h, w, c))
    return ((11 * i[0] + 5 * i[1] + 3 * i[2]) % 251).astype(np.uint8)


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(data)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(row, depth):
    """One scan line's samples as the specification packs them."""
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = "".join(format(v, f"0{depth}b") for v in row.ravel())
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def png(samples, depth, colour, before=b"", after=b"", interlaced=False, size=None):
    """A PNG file by the specification, for kinds that PIL does not write. `samples` are height x width x channels;
    `before` and `after` are chunks around the pixels."""
    height, width = size or samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    lines = b""
    for y, x, dy, dx in PASSES if interlaced else [(0, 0, 1, 1)]:
        for row in samples[y::dy, x::dx]:
            if len(row):
                lines += b"\0" + packed(row, depth)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(lines)) + after
            + chunk(b"IEND", b""))


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data))


def on_white(image):
    """What is seen of a PIL image on a white page, as PIL blends it."""
    rgba = image.convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return np.asarray(page)


def plain():
    grey = pixels(6, 9, 1)
    rgb = pixels(6, 9, 3)
    write("grey.png", saved(Image.fromarray(grey[:, :, 0], "L"), "PNG"))
    write("rgb.png", saved(Image.fromarray(rgb, "RGB"), "PNG"))
    write("rgb_gamma_and_text.png", saved(Image.fromarray(rgb, "RGB"), "PNG", dpi=(72, 72), optimize=True))
    # Colour i of the palette is (i, 2 i, 255 - i); pixel (h, w) has colour 11 h + 5 w.
    palette = Image.fromarray(grey[:, :, 0], "P")
    palette.putpalette(b"".join(bytes((i, 2 * i % 256, 255 - i)) for i in range(256)))
    write("palette.png", saved(palette, "PNG"))
    # Pixel (h, w) is (h + w) mod 2^depth.
    for depth in (1, 2, 4):
        write(f"grey_{depth}_bit.png", png(np.indices((6, 9)).sum(0)[:, :, None] % (1 << depth), depth, GREY))
    write("rgb_interlaced.png", png(rgb, 8, RGB, interlaced=True))
    write("huge.png", png(np.zeros((1, 9, 1), np.uint8), 8, GREY, size=(60000, 60000)))
    write("long.png", png(np.zeros((1, 9, 1), np.uint8), 8, GREY, size=(1, 65536)))

    def jpeg(name, image, **options):
        data = saved(image, "JPEG", **options)
        write(name + ".jpg", data)
        write(name + ".raw", np.asarray(opened(data)).tobytes())

    big = Image.fromarray(pixels(20, 33, 3), "RGB")
    jpeg("rgb_420", big, quality=75)
    jpeg("rgb_444", big, quality=90, subsampling=0)
    jpeg("rgb_progressive", big, quality=80, progressive=True)
    jpeg("grey", big.convert("L"), quality=85)


def blended(colour, alpha):
    c, a = colour.astype(np.float64), alpha.astype(np.float64)
    return np.rint((c * a + 255 * (255 - a)) / 255).astype(np.uint8)


def eight_bits(samples, depth):
    return np.rint(samples.astype(np.float64) * 255 / ((1 << depth) - 1)).astype(np.uint8)


def png_kinds():
    random = np.random.RandomState(7)

    def kind(name, samples, depth, colour, want, before=b"", pil=True):
        write(f"images/{name}.raw", want.tobytes())
        for interlaced in (False, True):
            data = png(samples, depth, colour, before, interlaced=interlaced)
            write(f"images/{name}{'_interlaced' if interlaced else ''}.png", data)
            if pil:
                assert (on_white(opened(data)) == want).all(), name

    shape = (9, 11)
    opaque = np.full(shape + (1,), 255)
    for depth in (1, 2, 4, 8, 16):
        grey = random.randint(0, 1 << depth, shape + (1,))
        clear = int(grey[4, 5, 0])
        grey[2, 3:6] = clear
        if depth == 16:
            grey[3, 3] = clear ^ 1  # the same in 8 bits, but not transparent
            grey[0, :2] = [[0], [65535]]
        want = eight_bits(grey, depth)
        kind(f"grey_{depth}", grey, depth, GREY, want, pil=depth <= 8)
        # PIL 9.4 compares with values that are widened already.
        kind(f"grey_{depth}_transparent", grey, depth, GREY, blended(want, np.where(grey == clear, 0, opaque)),
             chunk(b"tRNS", struct.pack(">H", clear)), pil=depth == 8)
    for depth in (1, 2, 4, 8):
        colours = random.randint(0, 256, ((1 << depth), 3))
        alphas = random.randint(0, 256, (1 << depth) - (depth == 8) * 100)  # the rest are opaque
        index = random.randint(0, 1 << depth, shape + (1,))
        plte = chunk(b"PLTE", colours.astype(np.uint8).tobytes())
        kind(f"palette_{depth}", index, depth, PALETTE, colours[index[:, :, 0]].astype(np.uint8), plte)
        every = np.concatenate([alphas, np.full((1 << depth) - len(alphas), 255)])
        kind(f"palette_{depth}_transparent", index, depth, PALETTE,
             blended(colours[index[:, :, 0]], every[index]), plte + chunk(b"tRNS", alphas.astype(np.uint8).tobytes()))
    for depth in (8, 16):
        rgb = random.randint(0, 1 << depth, shape + (3,))
        rgb[2, 3:6] = clear = rgb[4, 5].copy()
        rgb[3, 3] = clear ^ 1
        rgb[0, 0] = (clear[0], 0, 0)
        want = eight_bits(rgb, depth)
        kind(f"rgb_{depth}", rgb, depth, RGB, want, pil=depth == 8)
        seen = np.where((rgb == clear).all(-1, keepdims=True), 0, opaque)
        kind(f"rgb_{depth}_transparent", rgb, depth, RGB, blended(want, seen),
             chunk(b"tRNS", struct.pack(">3H", *clear)), pil=depth == 8)
        for name, colour, channels in (("grey", GREY_ALPHA, 1), ("rgb", RGB_ALPHA, 3)):
            both = random.randint(0, 1 << depth, shape + (channels + 1,))
            both[0, :2, -1] = (0, (1 << depth) - 1)
            half = eight_bits(both, depth)
            kind(f"{name}_alpha_{depth}", both, depth, colour, blended(half[:, :, :-1], half[:, :, -1:]),
                 pil=depth == 8)
    # Most of an interlaced image's passes are empty here.
    for height, width in ((1, 1), (1, 6), (6, 1), (2, 3)):
        both = random.randint(0, 256, (height, width, 4))
        kind(f"tiny_{height}x{width}", both, 8, RGB_ALPHA, blended(both[:, :, :3], both[:, :, 3:]))


def exif(orientation, order=">", kind=3, count=1):
    """An EXIF block: a maker's name, which lies elsewhere, and the orientation."""
    header = {">": b"MM\0*", "<": b"II*\0"}[order] + struct.pack(order + "I", 8)
    entries = struct.pack(order + "HHHII", 2, 0x010f, 2, 6, 38)
    value = struct.pack(order + "HH", orientation, 0)
    return header + entries + struct.pack(order + "HHI", 0x0112, kind, count) + value + bytes(4) + b"convd\0"


def marker(code, data):
    return bytes((0xff, code)) + struct.pack(">H", len(data) + 2) + data


def upright(image):
    return np.asarray(ImageOps.exif_transpose(image))


def jpeg_kinds():
    def kind(name, data, mode="RGB"):
        write(f"images/{name}.jpg", data)
        image = opened(data)
        assert image.mode in (mode, "CMYK"), name
        write(f"images/{name}.raw", upright(image.convert(mode) if image.mode != mode else image).tobytes())

    i = np.indices((12, 17)).astype(np.float64)
    smooth = np.stack([i[0] * 21, i[1] * 15, 255 - i[0] * 8 - i[1] * 7], -1).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(smooth, "RGB")
    cmyk = Image.fromarray(np.concatenate([smooth, smooth[:, ::-1, :1] // 2], -1), "CMYK")
    sharp = {"quality": 92, "subsampling": 0}
    kind("cmyk", saved(cmyk, "JPEG", **sharp))
    kind("cmyk_progressive", saved(cmyk, "JPEG", progressive=True, quality=92))
    # PIL writes none of these, but the same bytes under another name.
    adobe = saved(cmyk, "JPEG", **sharp)
    at = adobe.index(b"Adobe")
    assert adobe[at + 11] == 0
    kind("ycck", adobe[:at + 11] + b"\2" + adobe[at + 12:])
    kind("cmyk_no_adobe", adobe[:at - 4] + adobe[at + 12:])
    jfif = saved(Image.merge("YCbCr", image.split()), "JPEG", **sharp)
    assert jfif[2:4] == b"\xff\xe0"
    rest = jfif[4 + struct.unpack(">H", jfif[4:6])[0]:]
    kind("rgb_adobe", jfif[:2] + marker(0xee, b"Adobe\0\x64\0\0\0\0\0") + rest)

    whole = saved(image, "JPEG", **sharp)
    grey = saved(image.convert("L"), "JPEG", quality=92)

    def with_exif(data, block):
        return data[:2] + marker(0xe1, b"Exif\0\0" + block) + data[2:]

    for orientation in range(1, 9):
        kind(f"exif_{orientation}", with_exif(whole, exif(orientation, "<>"[orientation % 2])))
        kind(f"exif_grey_{orientation}", with_exif(grey, exif(orientation)), "L")
    # After the pixels a PNG file may have it as well.
    for name, before, after in (("before", 6, 0), ("after", 0, 6)):
        chunks = [chunk(b"eXIf", exif(o)) if o else b"" for o in (before, after)]
        write(f"images/exif_{name}.png", png(smooth, 8, RGB, *chunks))
    write("images/exif_png.raw", np.rot90(smooth, -1).tobytes())
    for name, block in (("damaged", b"XX" + exif(6)[2:]), ("cut", exif(6)[:25])):
        write(f"images/exif_{name}.png", png(smooth, 8, RGB, chunk(b"eXIf", block)))
    write("images/exif_png_upright.raw", smooth.tobytes())


def resized():
    random = np.random.RandomState(11)
    y, x = np.indices((150, 211))
    waves = 127.5 + 127.5 * np.sin(x * x / 300 + y / 9)
    sources = {
        "rgb": random.randint(0, 256, (23, 31, 3)),
        "grey": random.randint(0, 256, (13, 9)),
        "row": random.randint(0, 256, (1, 40, 3)),
        "column": random.randint(0, 256, (40, 1)),
        "dot": random.randint(0, 256, (1, 1, 3)),
        "waves": np.where((x // 7 + y // 5) % 2, waves, 255),
        # Of extremes, to see sums clamped.
        "extremes": 255 * random.randint(0, 2, (37, 29)),
    }
    for name, source in sources.items():
        image = Image.fromarray(source.astype(np.uint8))
        write(f"images/resize_{name}.png", saved(image, "PNG", optimize=True))
        write(f"images/resize_{name}.raw",
              b"".join(image.resize((w, h), Image.BILINEAR, reducing_gap=None).tobytes() for h, w in SIZES))


def whole():
    """All steps at once, of an RGBA image that lies on its side."""
    random = np.random.RandomState(13)
    rgba = random.randint(0, 256, (45, 33, 4)).astype(np.uint8)
    write("images/whole.png", png(rgba, 8, RGB_ALPHA, chunk(b"eXIf", exif(8))))
    seen = Image.fromarray(on_white(Image.fromarray(rgba, "RGBA"))).transpose(Image.ROTATE_90)
    for name, image in (("grey", seen.convert("L")), ("rgb", seen)):
        write(f"images/whole_{name}.raw", ImageOps.invert(image.resize((28, 28), Image.BILINEAR)).tobytes())
    # As large as a photo, in two colours so that the file is small.
    y, x = np.indices((3000, 4000))
    disc = ((y - 1400) ** 2 + (x - 2300) ** 2 < 1200 ** 2).astype(np.uint8)[:, :, None]
    data = png(np.packbits(disc, 1), 8, PALETTE, chunk(b"PLTE", bytes((250, 40, 10, 5, 60, 220))))
    # Eight pixels a byte, which is how one bit a pixel is packed.
    data = data.replace(data[8:33], chunk(b"IHDR", struct.pack(">IIBBBBB", 4000, 3000, 1, PALETTE, 0, 0, 0)))
    write("images/photo.png", data)
    write("images/photo.raw", opened(data).convert("RGB").convert("L").resize((28, 28), Image.BILINEAR).tobytes())


os.makedirs(os.path.join(HERE, "images"), exist_ok=True)
plain()
png_kinds()
jpeg_kinds()
resized()
whole()
