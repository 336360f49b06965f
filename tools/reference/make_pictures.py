#!/usr/bin/env python3
"""Writes tests/golden/pictures.bin: small picture files by other encoders, and what Pillow reads from them.

    make_pictures.py [-o tests/golden/pictures.bin] [--data $OCTAVIUS_TEST_DATA]

PNG, BMP and PNM are packed here, since hardly any program writes all of their kinds; JPEG by libjpeg (cc and its headers
are needed), which takes any sampling factors and lists of scans.  Whatever wrote a file, the pixels are Pillow's.

Little-endian: "OCTP", u32 version (1), u32 number of files; then for each
    48 bytes of name; u32 bytes of the file (0: a photograph of the test data, found there under its name), width, height,
    channels, nearest, orientation, CRC-32 of the pixels as stored, CRC-32 of them upright; the file.
"""
import argparse
import ctypes
import io
import os
import struct
import subprocess
import tempfile
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}              # of a pixel, by PNG's colour type
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
FIELDS = [(32, (0xFF0000, 0xFF00, 0xFF, 0)), (32, (0xFF000000, 0xFF0000, 0xFF00, 0)), (32, (0xFF000000, 0xFF00, 0xFF, 0)),
          (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)), (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
          (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)), (32, (0xFF000000, 0xFF00, 0xFF, 0xFF0000)), (32, (0, 0, 0, 0)),
          (24, (0xFF0000, 0xFF00, 0xFF, 0)), (16, (0xF800, 0x7E0, 0x1F, 0)), (16, (0x7C00, 0x3E0, 0x1F, 0))]


# --- what Pillow reads ----------------------------------------------------------------------------------------

def pillow(data):
    """Pixels [h, w, 3 or 4], nearest, orientation, and the pixels upright."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data))
        image.load()

        def pixels(im):
            if im.mode in ("RGBA", "LA"):
                return np.array(im.convert("RGBA"))
            if im.mode in ("I;16", "I"):                # 16-bit grey: the high byte, where Pillow would clip
                return np.repeat((np.array(im).astype(np.int64) >> 8).astype(np.uint8)[..., None], 3, 2)
            return np.array(im.convert("RGB"))
        turn = image.getexif().get(0x112, 1)
        return pixels(image), int(image.mode in ("P", "1")), turn, pixels(ImageOps.exif_transpose(image))


def exif(turn, order="<", kind=3, tag=0x112):
    """Orientation, after one other entry."""
    value = struct.pack(order + "HHI", tag, kind, 1) + (struct.pack(order + "HH", turn, 0) if kind == 3 else struct.pack(order + "I", turn))
    return ((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 2) + struct.pack(order + "HHII", 0x100, 4, 1, 7) +
            value + bytes(4))


# --- PNG ----------------------------------------------------------------------------------------------------------

def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def packed(values, depth):
    if depth == 16:
        return values.astype(">u2").tobytes()
    if depth == 8:
        return values.astype(np.uint8).tobytes()
    bits = "".join(format(int(v), f"0{depth}b") for v in values.ravel())
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def filtered(row, above, bpp, kind):
    x, b = (np.frombuffer(r, np.uint8).astype(int) for r in (row, above))
    a, c = (np.concatenate([np.zeros(bpp, int), r])[:len(r)] for r in (x, b))
    da, db, dc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    paeth = np.where((da <= db) & (da <= dc), a, np.where(db <= dc, b, c))
    y = x - (np.zeros_like(x), a, b, (a + b) // 2, paeth)[kind]
    return bytes([kind]) + (y & 255).astype(np.uint8).tobytes()


def png(rng, w, h, colour, depth, interlaced=0, smooth=True, transparent=False, level=6, strategy=0, piece=0, exif_data=None, after=False):
    s = SAMPLES[colour]
    n_palette = int(rng.integers(1, min(256, 1 << depth) + 1)) if colour == 3 else 0
    top = n_palette or 1 << depth
    v = rng.integers(0, top, (h, w, s))
    if smooth:
        v = np.add.outer(np.arange(h) * 3, np.arange(w) * 2)[..., None] * np.arange(1, s + 1) * max(1, top // 200) % top
    raw, bpp = b"", max(1, s * depth // 8)
    for x, y, dx, dy in PASSES if interlaced else [(0, 0, 1, 1)]:
        part = v[y::dy, x::dx]
        if part.size == 0:
            continue
        above = bytes(len(packed(part[0], depth)))
        for row in part:
            row = packed(row, depth)
            raw += filtered(row, above, bpp, int(rng.integers(5)))
            above = row
    deflate = zlib.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
    z = deflate.compress(raw) + deflate.flush()
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlaced)) + chunk(b"tEXt", b"a\0b")
    if colour == 3:
        out += chunk(b"PLTE", rng.integers(0, 256, n_palette * 3, dtype=np.uint8).tobytes())
    if transparent:
        out += chunk(b"tRNS", rng.integers(0, 256, n_palette, dtype=np.uint8).tobytes() if colour == 3 else b"\0\1" * s)
    if exif_data and not after:
        out += chunk(b"eXIf", exif_data)
    piece = piece or len(z)
    out += b"".join(chunk(b"IDAT", z[i:i + piece]) for i in range(0, len(z), piece))
    if exif_data and after:
        out += chunk(b"eXIf", exif_data)
    return out + chunk(b"IEND", b"")


# --- BMP ------------------------------------------------------------------------------------------------------------

def bmp(w, h, bits, data, compression=0, palette=b"", masks=b"", header=40, colours=0, top_down=False, tell=True):
    if header == 12:
        head = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        head = struct.pack("<IiiHHIIIIII", header, w, -h if top_down else h, 1, bits, compression, len(data), 0, 0, colours, 0)
        if header > 40:
            head, masks = head + masks, b""
        head += bytes(header - len(head))
    at = 14 + len(head) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at if tell else 0) + head + masks + palette + data


def bmp_rows(rng, w, h, bits):
    n = (w * bits + 7) // 8
    return b"".join(rng.integers(0, 256, n, dtype=np.uint8).tobytes() + bytes(-n % 4) for _ in range(h))


def bmp_palette(rng, n, entry=4):
    return rng.integers(0, 256, n * entry, dtype=np.uint8).tobytes()


def bmp_runs(rng, w, h, four):
    out = b""
    for y in range(h):
        x = 0
        while x < w:
            n = min(w - x, int(rng.integers(1, 20)))
            if n >= 3 and rng.random() < 0.5:
                m = (n + 1) // 2 if four else n
                out += bytes([0, n]) + rng.integers(0, 256, m, dtype=np.uint8).tobytes() + bytes(m & 1)
            else:
                out += bytes([n, int(rng.integers(256))])
            x += n
            if rng.random() < 0.1 and x < w:
                break
        out += b"\0\0" if y < h - 1 or x < w else b""
    return out + b"\0\1"


# --- PNM ------------------------------------------------------------------------------------------------------------

def pnm(rng, w, h, kind, top=255):
    if kind == 1:
        return b"P1 # bits\n%d %d\n" % (w, h) + b"\n".join(b"".join(b"01"[v:v + 1] + b" " * (v & 1) for v in rng.integers(0, 2, w)) for _ in range(h)) + b"\n"
    if kind == 4:
        return b"P4\n%d %d\n" % (w, h) + rng.integers(0, 256, h * ((w + 7) // 8), dtype=np.uint8).tobytes()
    v = rng.integers(0, top + 1, (h, w, 3 if kind in (3, 6) else 1))
    if kind < 4:
        return b"P%d %d\t%d\r\n%d\n" % (kind, w, h, top) + b"# row\n".join(b" ".join(b"%d" % x for x in r.ravel()) + b"\n" for r in v)
    return b"P%d\n# a comment\n%d %d # another\n%d\n" % (kind, w, h, top) + v.astype(np.uint8 if top < 256 else ">u2").tobytes()


# --- JPEG, by libjpeg -----------------------------------------------------------------------------------------------

ENCODER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <jpeglib.h>
/* in: components (1, 3, 4), which for 3 are RGB.  factors [2 * n]: of each component, 0: libjpeg's own.  space: 0 as libjpeg
 * wants it, else a J_COLOR_SPACE.  scans [9 each]: number of components, four of them, Ss, Se, Ah, Al. */
long encode(const unsigned char *in, int w, int h, int n, int quality, const int *factors, int space, int progressive, int restart,
            int arithmetic, int optimize, int baseline, const int *scans, int n_scans, int jfif, const unsigned char *exif, int exif_bytes,
            unsigned char *out, long cap) {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr e;
    jpeg_scan_info list[256];
    unsigned char *mem = NULL;
    unsigned long bytes = 0;
    c.err = jpeg_std_error(&e);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &mem, &bytes);
    c.image_width = w, c.image_height = h, c.input_components = n;
    c.in_color_space = n == 1 ? JCS_GRAYSCALE : n == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&c);
    if (space) jpeg_set_colorspace(&c, (J_COLOR_SPACE)space);
    jpeg_set_quality(&c, quality, baseline);
    for (int i = 0; factors && i < c.num_components; i++)
        c.comp_info[i].h_samp_factor = factors[2 * i], c.comp_info[i].v_samp_factor = factors[2 * i + 1];
    if (progressive) jpeg_simple_progression(&c);
    for (int i = 0; i < n_scans; i++) {
        const int *s = scans + 9 * i;
        list[i].comps_in_scan = s[0];
        for (int k = 0; k < 4; k++) list[i].component_index[k] = s[1 + k];
        list[i].Ss = s[5], list[i].Se = s[6], list[i].Ah = s[7], list[i].Al = s[8];
    }
    if (n_scans) c.scan_info = list, c.num_scans = n_scans;
    c.arith_code = arithmetic;
    c.optimize_coding = optimize;
    c.restart_interval = restart;
    if (jfif == 0) c.write_JFIF_header = FALSE, c.write_Adobe_marker = FALSE;
    if (jfif == 2) c.write_JFIF_header = FALSE, c.write_Adobe_marker = TRUE;
    jpeg_start_compress(&c, TRUE);
    if (exif_bytes) jpeg_write_marker(&c, JPEG_APP0 + 1, exif, exif_bytes);
    while (c.next_scanline < c.image_height) {
        JSAMPROW row = (JSAMPROW)(in + (size_t)c.next_scanline * w * n);
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    for (unsigned long i = 0; i < bytes && (long)bytes <= cap; i++) out[i] = mem[i];
    free(mem);
    return (long)bytes;
}
"""
SPACE_RGB, SPACE_YCC = 2, 3
_encoder = []


def encoder():
    if not _encoder:
        folder = tempfile.mkdtemp()
        with open(os.path.join(folder, "encoder.c"), "w") as f:
            f.write(ENCODER)
        lib = os.path.join(folder, "encoder.so")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", os.path.join(folder, "encoder.c"), "-o", lib, "-ljpeg"], check=True)
        _encoder.append(ctypes.CDLL(lib))
        _encoder[0].encode.restype = ctypes.c_long
    return _encoder[0]


def jpeg(pixels, quality=75, factors=None, space=0, progressive=0, restart=0, arithmetic=0, optimize=0, baseline=1, scans=(), jfif=1, exif_data=b""):
    pixels = np.ascontiguousarray(pixels, np.uint8)
    h, w, n = pixels.shape
    cap = w * h * n * 8 + 65536
    out = ctypes.create_string_buffer(cap)
    flat = [x for f in factors for x in f] if factors else []
    scans = [[len(s[0])] + list(s[0]) + [0] * (4 - len(s[0])) + list(s[1:]) for s in scans]
    ints = [x for s in scans for x in s]
    exif_data = b"Exif\0\0" + exif_data if exif_data else b""
    got = encoder().encode(pixels.ctypes.data_as(ctypes.c_char_p), w, h, n, quality, (ctypes.c_int * len(flat))(*flat) if flat else None, space,
                           progressive, restart, arithmetic, optimize, baseline, (ctypes.c_int * len(ints))(*ints), len(scans), jfif,
                           exif_data, len(exif_data), out, ctypes.c_long(cap))
    return out.raw[:got]


def photo(rng, w, h, n=3):
    """Soft shapes, an edge, some noise."""
    y, x = np.mgrid[0:h, 0:w]
    c = [128 + 100 * np.sin(x / (5 + k) + k) * np.cos(y / (7 - k) - k) + 40 * (x + y > (w + h) / 2 + k) for k in range(n)]
    return np.clip(np.stack(c, 2) + rng.normal(0, 4, (h, w, n)), 0, 255).astype(np.uint8)


FACTORS = {"444": [(1, 1)] * 3, "422": [(2, 1), (1, 1), (1, 1)], "420": [(2, 2), (1, 1), (1, 1)], "440": [(1, 2), (1, 1), (1, 1)],
           "411": [(4, 1), (1, 1), (1, 1)], "410": [(4, 2), (1, 1), (1, 1)], "441": [(1, 4), (1, 1), (1, 1)], "311": [(3, 1), (1, 1), (1, 1)],
           "mixed": [(2, 2), (2, 1), (1, 2)], "swapped": [(1, 1), (2, 2), (2, 2)], "442": [(1, 4), (1, 2), (1, 2)], "same": [(2, 1)] * 3}


# --- the list -------------------------------------------------------------------------------------------------------

def files(rng):
    """(name, file) in an order that does not change, each from the same numbers."""
    for colour, depths in DEPTHS.items():
        for depth in depths:
            for interlaced in (0, 1):
                for k, (w, h) in enumerate(((1, 1), (13, 9), (3, 6))):
                    yield f"png-{colour}-{depth}-{interlaced}-{w}x{h}", png(
                        rng, w, h, colour, depth, interlaced, k != 2, k == 1 and colour in (0, 2, 3), (0, 9, 6)[k], (0, 4, 2)[k], (0, 29, 7)[k])
    yield "png-long", png(rng, 300, 60, 2, 8, 0, True, level=9)
    yield "png-noise", png(rng, 60, 40, 6, 8, 0, False, level=1)
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16"):
        out = io.BytesIO()
        im = Image.fromarray(photo(rng, 21, 17, 4))
        (Image.fromarray(rng.integers(0, 65536, (17, 21), dtype=np.uint16)) if mode == "I;16" else im.convert(mode)).save(out, "PNG", optimize=True)
        yield f"png-pillow-{mode}", out.getvalue()
    for turn in range(1, 9):
        yield f"png-turn-{turn}", png(rng, 4, 3, 2, 8, exif_data=exif(turn, "<>"[turn & 1], 3 + (turn == 5)), after=turn > 4)
    for header in (12, 40, 64, 108, 124):
        for bits in (1, 4, 8, 16, 24, 32):
            if header == 12 and bits in (16, 32):
                continue
            palette = bmp_palette(rng, 1 << bits, 3 if header == 12 else 4) if bits <= 8 else b""
            if bits == 8 and header in (64, 108):
                continue                                # their palettes alone are a kilobyte
            yield f"bmp-{bits}-{header}", bmp(7, 5, bits, bmp_rows(rng, 7, 5, bits), palette=palette, header=header, top_down=header == 124, tell=header != 108)
    for bits, masks in FIELDS:
        header = 124 if masks[3] or not masks[0] else 40
        yield f"bmp-fields-{bits}-{masks[0]:x}-{masks[2]:x}-{masks[3]:x}", bmp(
            5, 3, bits, bmp_rows(rng, 5, 3, bits), 3, masks=struct.pack("<IIII", *masks)[:16 if header > 40 else 12], header=header)
    yield "bmp-few", bmp(9, 4, 8, bytes(rng.integers(0, 5, 48, dtype=np.uint8)), palette=bmp_palette(rng, 3), colours=3)
    yield "bmp-runs-8", bmp(33, 9, 8, bmp_runs(rng, 33, 9, False), 1, bmp_palette(rng, 256))
    yield "bmp-runs-4", bmp(33, 9, 4, bmp_runs(rng, 33, 9, True), 2, bmp_palette(rng, 16))
    for mode in ("1", "L", "RGB", "RGBA"):
        out = io.BytesIO()
        Image.fromarray(photo(rng, 11, 7, 4)).convert(mode).save(out, "BMP")
        yield f"bmp-pillow-{mode}", out.getvalue()
    for kind, tops in {1: (1,), 2: (255, 7, 1000), 3: (255, 100, 4095), 4: (1,), 5: (255, 3, 65535, 500), 6: (255, 254, 65535, 999)}.items():
        for top in tops:
            yield f"pnm-{kind}-{top}", pnm(rng, 9, 5, kind, top)
    yield from jpegs(rng)


DEEP = [((0, 1, 2), 0, 0, 0, 3), ((0, 1, 2), 0, 0, 3, 2), ((0,), 1, 5, 0, 4), ((0,), 6, 63, 0, 3), ((1,), 1, 63, 0, 2), ((2,), 1, 63, 0, 2),
        ((0,), 1, 5, 4, 3), ((0,), 1, 63, 3, 2), ((0, 1, 2), 0, 0, 2, 1), ((0,), 1, 63, 2, 1), ((1,), 1, 63, 2, 1), ((2,), 1, 63, 2, 1),
        ((0, 1, 2), 0, 0, 1, 0), ((0,), 1, 63, 1, 0), ((1,), 1, 63, 1, 0), ((2,), 1, 63, 1, 0)]


def jpegs(rng):
    for k, (name, factors) in enumerate(FACTORS.items()):
        for progressive in (0, 1):
            yield f"jpeg-{name}-{progressive}", jpeg(photo(rng, 37, 29), (75, 92, 40)[k % 3], factors, progressive=progressive, restart=(0, 2, 0, 1)[k % 4])
    for w, h in ((1, 1), (2, 3), (3, 2), (6, 5), (5, 6)):
        for name in ("420", "422", "440"):
            yield f"jpeg-{name}-{w}x{h}", jpeg(photo(rng, w, h), 85, FACTORS[name])
    for progressive in (0, 1):
        p = photo(rng, 33, 20)
        yield f"jpeg-grey-{progressive}", jpeg(photo(rng, 19, 23, 1), 80, progressive=progressive)
        yield f"jpeg-rgb-adobe-{progressive}", jpeg(p, 80, space=SPACE_RGB, progressive=progressive)
        yield f"jpeg-rgb-named-{progressive}", jpeg(p, 80, space=SPACE_RGB, progressive=progressive, jfif=0)
        yield f"jpeg-ycc-adobe-{progressive}", jpeg(p, 80, FACTORS["420"], progressive=progressive, jfif=2)
        yield f"jpeg-ycc-bare-{progressive}", jpeg(p, 80, FACTORS["420"], progressive=progressive, jfif=0)
        yield f"jpeg-coarse-{progressive}", jpeg(p, 3, progressive=progressive, baseline=0)
        yield f"jpeg-noise-{progressive}", jpeg(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8), 100, FACTORS["420"], progressive=progressive, optimize=1)
    yield "jpeg-grey-2x2", jpeg(photo(rng, 19, 23, 1), 80, [(2, 2)], restart=3)
    yield "jpeg-scans", jpeg(photo(rng, 40, 27), 80, FACTORS["420"], scans=[((2,), 0, 63, 0, 0), ((0,), 0, 63, 0, 0), ((1,), 0, 63, 0, 0)], restart=3)
    yield "jpeg-deep", jpeg(photo(rng, 40, 27), 90, FACTORS["420"], scans=DEEP, restart=5)
    yield "jpeg-tall", jpeg(photo(rng, 5, 200), 60, FACTORS["420"])
    yield "jpeg-wide", jpeg(photo(rng, 200, 5), 60, FACTORS["420"], progressive=1)
    for turn in (1, 3, 6, 8):
        yield f"jpeg-turn-{turn}", jpeg(photo(rng, 10, 7), 75, exif_data=exif(turn, "<>"[turn & 1]))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    ap.add_argument("-o", default=os.path.join(here, "../../tests/golden/pictures.bin"))
    ap.add_argument("--data", default=os.environ.get("OCTAVIUS_TEST_DATA"))
    args = ap.parse_args()
    entries = []
    for name, data in files(np.random.default_rng(9)):
        entries.append((name, data, data))
    for name in ("CLIP.png", "astronaut.png", "camera.png", "chelsea.png", "china.jpg", "coffee.png", "flower.jpg", "rocket.jpg") if args.data else ():
        with open(os.path.join(args.data, "images", name), "rb") as f:
            entries.append(("images/" + name, f.read(), b""))
    with open(args.o, "wb") as f:
        f.write(b"OCTP" + struct.pack("<II", 1, len(entries)))
        for name, data, kept in entries:
            pixels, nearest, turn, upright = pillow(data)
            h, w, n = pixels.shape
            f.write(name.encode().ljust(48, b"\0") + struct.pack("<8I", len(kept), w, h, n, nearest, turn, zlib.crc32(pixels.tobytes()),
                                                                 zlib.crc32(upright.tobytes())) + kept)
    print(f"{len(entries)} files, {os.path.getsize(args.o)} bytes")


if __name__ == "__main__":
    main()
