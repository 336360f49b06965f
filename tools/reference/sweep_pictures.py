#!/usr/bin/env python3
"""More than four thousand picture files, read by octavius.h and by Pillow: every pixel must be the same.

    sweep_pictures.py [--keep FOLDER] [FILE ...]

Made here (make_pictures.py): PNG of every colour type, depth and interlacing; BMP of every header, depth, mask and run; PNM;
JPEG in sizes from 1 x 1, qualities from 1 to 100, twelve samplings, baseline and progressive, with restarts, bare, in
several scans, and of 4000 x 3000.  FILEs are compared as well.  Files that differ are left in FOLDER (pictures-differ).
Exit status 1 if a file differs, or if only one of the two refuses it.
"""
import argparse
import io
import itertools
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

import make_pictures as mp

READER = r"""
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"
int main(void) {                          /* paths in; a line for each, and its pixels out */
    static char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        oct_picture p;
        oct_error err;
        line[strcspn(line, "\n")] = 0;
        const oct_result r = oct_picture_open(&p, line, NULL, &err);
        printf("%d %d %d %d %d %d %s\n", r, p.image.width, p.image.height, p.image.n_channels, p.image.nearest, p.orientation, err.message);
        if (!r) fwrite(p.image.pixels, (size_t)p.image.n_channels, (size_t)p.image.width * (size_t)p.image.height, stdout);
        fflush(stdout);
        oct_picture_close(&p);
    }
    return 0;
}
"""


class Reader:
    def __init__(self, folder):
        root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
        source, program = os.path.join(folder, "reader.c"), os.path.join(folder, "reader")
        with open(source, "w") as f:
            f.write(READER)
        subprocess.run(["cc", "-O2", "-DOCTAVIUS_NO_SIMD", "-I", root, source, "-o", program, "-lm"], check=True)
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, path):
        """(pixels, nearest, orientation), or what the error says."""
        self.process.stdin.write((path + "\n").encode())
        self.process.stdin.flush()
        words = self.process.stdout.readline().decode().rstrip("\n").split(" ", 6)
        r, w, h, n, nearest, turn = map(int, words[:6])
        if r:
            return words[6]
        return np.frombuffer(self.process.stdout.read(w * h * n), np.uint8).reshape(h, w, n), nearest, turn


def pngs(rng):
    for colour, depths in mp.DEPTHS.items():
        for depth, interlaced, (w, h), k in itertools.product(
                depths, (0, 1), ((1, 1), (2, 3), (3, 1), (1, 9), (5, 5), (8, 8), (17, 13), (33, 31), (100, 7)), (0, 1)):
            yield f"{colour}-{depth}-{interlaced}-{w}x{h}-{k}.png", mp.png(
                rng, w, h, colour, depth, interlaced, k == 0, k == 1 and colour in (0, 2, 3), int(rng.integers(10)), int(rng.integers(5)),
                int(rng.choice([0, 1, 7, 100])))
    big = np.kron(rng.integers(0, 256, (60, 80, 4), dtype=np.uint8), np.ones((50, 50, 1), np.uint8)) + rng.integers(0, 9, (3000, 4000, 4), dtype=np.uint8)
    for mode in ("RGB", "RGBA", "L", "P"):
        out = io.BytesIO()
        Image.fromarray(big).convert(mode).save(out, "PNG", compress_level=3)
        yield f"4000x3000-{mode}.png", out.getvalue()


def bmps(rng):
    for (w, h), top_down, header in itertools.product(((1, 1), (3, 2), (7, 5), (32, 9), (33, 4)), (False, True), (40, 52, 56, 64, 108, 124)):
        name = f"{w}x{h}-{header}-{int(top_down)}"
        for bits, tell in itertools.product((1, 4, 8, 16, 24, 32), (True, False)):
            palette = mp.bmp_palette(rng, 1 << bits) if bits <= 8 else b""
            yield f"{name}-{bits}-{int(tell)}.bmp", mp.bmp(w, h, bits, mp.bmp_rows(rng, w, h, bits), palette=palette, header=header, top_down=top_down, tell=tell)
        for bits, masks in mp.FIELDS:
            if header > 52 or not masks[3] and masks[0]:
                yield f"{name}-{bits}-{masks[0]:x}-{masks[3]:x}.bmp", mp.bmp(
                    w, h, bits, mp.bmp_rows(rng, w, h, bits), 3, masks=struct.pack("<IIII", *masks)[:12 if header < 56 else 16], header=header, top_down=top_down)
        if header == 40:
            for four in (False, True):
                yield f"{name}-runs-{int(four)}.bmp", mp.bmp(
                    w, h, 4 if four else 8, mp.bmp_runs(rng, w, h, four), 2 if four else 1, mp.bmp_palette(rng, 16 if four else 256), top_down=top_down)
            grey = bytes(x for i in range(256) for x in (i, i, i, 0))
            yield f"{name}-grey.bmp", mp.bmp(w, h, 8, mp.bmp_rows(rng, w, h, 8), palette=grey, top_down=top_down)
            for bits in (1, 4, 8, 24):
                yield f"{name}-{bits}-core.bmp", mp.bmp(w, h, bits, mp.bmp_rows(rng, w, h, bits), palette=mp.bmp_palette(rng, 1 << bits, 3) if bits < 24 else b"", header=12)


def pnms(rng):
    for (w, h), top in itertools.product(((1, 1), (3, 2), (7, 5), (32, 9)), (1, 2, 7, 100, 254, 255, 256, 1000, 4095, 65535)):
        for kind in (2, 3, 5, 6) if top > 1 else (1, 2, 3, 4, 5, 6):
            yield f"{kind}-{w}x{h}-{top}.pnm", mp.pnm(rng, w, h, kind, top)


def jpegs(rng):
    for w, h in ((1, 1), (2, 2), (3, 3), (5, 1), (1, 7), (8, 8), (9, 17), (16, 16), (17, 15), (31, 33), (64, 48), (100, 75), (227, 149)):
        p, name = mp.photo(rng, w, h), f"{w}x{h}"
        for quality, factors, progressive, restart in itertools.product((10, 50, 95), mp.FACTORS, (0, 1), (0, 3)):
            yield f"{name}-{quality}-{factors}-{progressive}-{restart}.jpg", mp.jpeg(
                p, quality, mp.FACTORS[factors], progressive=progressive, restart=restart, optimize=restart & 1)
        noise = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        for quality, factors, progressive in itertools.product((1, 30, 75, 100), ("420", "444"), (0, 1)):
            yield f"{name}-noise-{quality}-{factors}-{progressive}.jpg", mp.jpeg(noise, quality, mp.FACTORS[factors], progressive=progressive)
        for progressive in (0, 1):
            yield f"{name}-grey-{progressive}.jpg", mp.jpeg(mp.photo(rng, w, h, 1), 80, progressive=progressive)
            yield f"{name}-grey-2x2-{progressive}.jpg", mp.jpeg(mp.photo(rng, w, h, 1), 80, [(2, 2)], progressive=progressive, restart=2)
            yield f"{name}-coarse-{progressive}.jpg", mp.jpeg(p, 3, progressive=progressive, baseline=0)
            for jfif, space in itertools.product((0, 1, 2), (mp.SPACE_RGB, mp.SPACE_YCC)):
                yield f"{name}-space-{space}-{jfif}-{progressive}.jpg", mp.jpeg(p, 80, space=space, progressive=progressive, jfif=jfif)
        yield f"{name}-scans-a.jpg", mp.jpeg(p, 80, mp.FACTORS["420"], scans=[((0,), 0, 63, 0, 0), ((1, 2), 0, 63, 0, 0)], restart=2)
        yield f"{name}-scans-b.jpg", mp.jpeg(p, 80, mp.FACTORS["422"], scans=[((k,), 0, 63, 0, 0) for k in (2, 0, 1)])
        yield f"{name}-deep.jpg", mp.jpeg(p, 90, mp.FACTORS["420"], scans=mp.DEEP, restart=5)
    big = mp.photo(rng, 4000, 3000)
    for quality, factors, progressive in itertools.product((50, 95), ("420", "422", "444"), (0, 1)):
        yield f"4000x3000-{quality}-{factors}-{progressive}.jpg", mp.jpeg(big, quality, mp.FACTORS[factors], progressive=progressive)


def difference(ours, data):
    """What is different; "" if nothing is."""
    try:
        pixels, nearest, turn, _ = mp.pillow(data)
    except Exception as e:                              # Pillow has many kinds of them
        return "" if isinstance(ours, str) else f"Pillow refuses it: {e}"
    if isinstance(ours, str):
        return f"refused: {ours}"
    if ours[0].shape != pixels.shape or ours[1:] != (nearest, turn):
        return f"{ours[0].shape} {ours[1:]}, Pillow {pixels.shape} {(nearest, turn)}"
    d = np.abs(ours[0].astype(int) - pixels)
    return f"at most {d.max()} apart, {(d > 0).mean():.2%} of the samples" if d.any() else ""


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--keep", default="pictures-differ")
    ap.add_argument("files", nargs="*")
    args = ap.parse_args()
    rng = np.random.default_rng(1)
    Image.MAX_IMAGE_PIXELS = None
    made = itertools.chain(pngs(rng), bmps(rng), pnms(rng), jpegs(rng), ((os.path.basename(f), open(f, "rb").read()) for f in args.files))
    n, bad = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(folder)
        for name, data in made:
            path = os.path.join(folder, name)
            with open(path, "wb") as f:
                f.write(data)
            n += 1
            what = difference(reader.read(path), data)
            if what:
                bad += 1
                os.makedirs(args.keep, exist_ok=True)
                os.replace(path, os.path.join(args.keep, name))
                print(f"{name}: {what}")
            else:
                os.remove(path)
        reader.process.stdin.close()
    print(f"{n} files, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
