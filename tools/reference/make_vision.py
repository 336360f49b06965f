#!/usr/bin/env python3
"""Expected numbers for tests/test_vision.c, from Pillow and from transformers' own processors.

    make_vision.py pictures > tests/vision_pictures.h

pictures: pictures that both sides make from a formula, resized in every mode; of each the CRC32 of the 8-bit square and three
of the floats.  The processors that run are CLIPImageProcessor and SiglipImageProcessor on Pillow; what is resized in its own mode
(OCTAVIUS) goes through Image.resize as torchvision's Resize calls it.

Pillow before 13 is wanted, as the official programs pin it: 13.0 takes the columns first where that is less work, which rounds
otherwise (by one step of 255, here and there).
"""
import sys
import zlib

import numpy as np
from PIL import Image

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def noise(w, h, c):
    """uint8 [h, w]: noise and ramps in squares of 16, the same for any size."""
    y, x = np.mgrid[0:h, 0:w].astype(np.uint32)
    v = x * np.uint32(73856093) ^ y * np.uint32(19349663) ^ np.uint32((c * 83492791) & 0xFFFFFFFF)
    v = (v ^ v >> np.uint32(13)) * np.uint32(0x5BD1E995)
    v = (v ^ v >> np.uint32(15)) & np.uint32(255)
    ramp = (x * 3 + y * 5 + c * 40) & 255
    return np.where((x // 16 + y // 16) & 1, v, ramp).astype(np.uint8)


def picture(w, h, mode):
    """A picture of a mode: RGB, RGBA, P (palette), 1 (one bit)."""
    if mode == "P":
        im = Image.fromarray(noise(w, h, 0), "P")
        im.putpalette(sum(([i, 255 - i, i * 7 & 255] for i in range(256)), []))
        return im
    if mode == "1":
        return Image.fromarray(np.where(noise(w, h, 0) >= 128, 255, 0).astype(np.uint8)).convert("1", dither=Image.Dither.NONE)
    planes = [noise(w, h, c) for c in range(3)]
    if mode == "RGBA":
        a = noise(w, h, 3)
        planes.append(np.where(a < 64, 0, np.where(a > 192, 255, a)).astype(np.uint8))
    return Image.fromarray(np.stack(planes, -1), mode)


def pad_square(im, mean):
    w, h = im.size
    n = max(w, h)
    out = Image.new(im.mode, (n, n), tuple(int(m * 255) for m in mean))
    out.paste(im, ((n - w) // 2, (n - h) // 2))
    return out


def prepare(im, resize, late, size, side, mean, std):
    """8-bit [size, size, 3] and floats [3, size, size]."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    if late:
        square = np.array(im.resize((side, side), Image.Resampling.BICUBIC).convert("RGB"))
        o = (side - size) // 2
        square = square[o:o + size, o:o + size]
        pixels = (square.astype(np.float64) * (1 / 255)).astype(np.float32)
        return square, ((pixels - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)
    im = im.convert("RGB")
    if resize == "pad":
        im = pad_square(im, mean)
    if resize == "squash":
        make, kind = SiglipImageProcessorPil, dict(size={"height": side, "width": side})
    else:
        make, kind = CLIPImageProcessorPil, dict(size={"shortest_edge": side}, crop_size={"height": size, "width": size})
    both = []
    for do in (False, True):
        p = make(image_mean=mean, image_std=std, do_rescale=do, do_normalize=do, **kind)
        both.append(p(im, return_tensors="np")["pixel_values"][0])
    return both[0].transpose(1, 2, 0).astype(np.uint8), both[1].astype(np.float32)


def pictures():
    cases = []
    sizes = [(97, 61), (61, 97), (1, 1), (1, 50), (50, 1), (2, 3), (56, 56), (224, 224), (225, 224), (640, 479), (300, 1200), (7, 700),
             (1000, 1), (336, 200), (13, 12)]
    for w, h in sizes:
        for resize in ("pad", "crop", "squash"):
            for size, side in ((56, 56), (224, 224)) if w * h < 100000 else ((62, 62),):
                cases.append((w, h, "RGB", resize, 0, size, side))
    cases += [(1600, 1201, "RGB", r, 0, 336, 336) for r in ("pad", "crop", "squash")]
    cases += [(451, 300, "RGB", "crop", 0, 224, 248), (300, 451, "RGB", "pad", 0, 224, 248), (120, 90, "RGB", "crop", 0, 60, 45),
              (90, 121, "RGB", "crop", 0, 61, 40), (451, 300, "RGBA", "pad", 0, 62, 62), (33, 90, "RGBA", "crop", 0, 56, 56)]
    for w, h in ((97, 61), (56, 56), (70, 70), (70, 33), (5, 400), (1, 1), (640, 479)):
        for mode in ("RGB", "RGBA", "P", "1"):
            cases.append((w, h, mode, "squash", 1, 70, 70))
    print("/* Made by tools/reference/make_vision.py pictures: Pillow %s, transformers %s. */" % versions())
    print("static const vision_picture vision_pictures[] = {")
    for w, h, mode, resize, late, size, side in cases:
        clip = resize != "squash" or late
        mean, std = (CLIP_MEAN, CLIP_STD) if clip else ([0.5] * 3, [0.5] * 3)
        square, floats = prepare(picture(w, h, mode), resize, late, size, side, mean, std)
        assert square.shape == (size, size, 3) and floats.shape == (3, size, size)
        f, n = floats.reshape(-1), size * size
        print('    { %d, %d, "%s", OCT__RESIZE_%s, %d, %d, %d, 0x%08xu, { %sf, %sf, %sf } },' % (
            w, h, mode, resize.upper(), late, size, side, zlib.crc32(np.ascontiguousarray(square).tobytes()),
            *(np.format_float_scientific(f[i], unique=True) for i in (0, n + n // 2, 3 * n - 1))))
    print("};")


def versions():
    import PIL
    import transformers
    return PIL.__version__, transformers.__version__


if __name__ == "__main__":
    if sys.argv[1:] != ["pictures"]:
        sys.exit(__doc__)
    if int(versions()[0].split(".")[0]) >= 13:
        sys.exit("Pillow %s: wanted one before 13, see above" % versions()[0])
    pictures()
