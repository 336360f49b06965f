#!/usr/bin/env python3
"""Expected numbers for tests/test_vision.c, from Pillow and from transformers' own processors.

    make_vision.py pictures > tests/vision_pictures.h
    make_vision.py towers [-o tests/golden]

pictures: pictures that both sides make from a formula, resized in every mode; of each the CRC32 of the 8-bit square and three
of the floats.  The processors that run are CLIPImageProcessor and SiglipImageProcessor on Pillow; what is resized in its own mode
(OCTAVIUS) goes through Image.resize as torchvision's Resize calls it.

towers: tiny random encoders (vit-NAME.gguf) and every stage of what they make of one of those pictures (vit-NAME.bin, the
format of make_golden.py), from CLIPVisionModel and SiglipVisionModel in float64; vit-plain (timm's plain transformer with its classifier)
from the formulas below, which the real ViT-Tiny of the test data confirms.

Pillow before 13 is wanted, as the official programs pin it: 13.0 takes the columns first where that is less work, which rounds
otherwise (by one step of 255, here and there).
"""
import os
import struct
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


def timm(im, size, side, mean, std):
    """timm's ResizeKeepRatio and torchvision's CenterCrop, whose sizes and offsets are rounded."""
    ratio = min(im.size) / side
    w, h = (round(n / ratio) for n in im.size)
    im = np.array(im.resize((w, h), Image.Resampling.BICUBIC))
    im = np.pad(im, [(max(size - n, 0) // 2, (max(size - n, 0) + 1) // 2) for n in (h, w)] + [(0, 0)])
    y, x = (int(round((n - size) / 2)) for n in im.shape[:2])
    square = im[y:y + size, x:x + size]
    return square, ((square.astype(np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)


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
    if side != size:
        return timm(im, size, side, mean, std)
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
              (90, 121, "RGB", "crop", 0, 61, 40), (90, 121, "RGB", "crop", 0, 60, 75), (121, 90, "RGB", "crop", 0, 62, 77),
              (451, 300, "RGBA", "pad", 0, 62, 62), (33, 90, "RGBA", "crop", 0, 56, 56)]
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


# --- towers ---------------------------------------------------------------------------------------------------------

# d width, h heads, f feed-forward width, n blocks stored and run, s picture, p patch, o rows of the projector
TOWERS = {
    "clip": dict(d=48, h=4, f=88, n=2, s=28, p=7, o=48, act="gelu_quick", eps=1e-5, resize="pad"),
    "siglip": dict(d=40, h=4, f=72, n=2, s=31, p=7, o=24, act="gelu_tanh", eps=1e-6, resize="squash"),
    "plain": dict(d=48, h=3, f=64, n=2, s=32, p=8, o=0, act="gelu", eps=1e-6, resize="crop", side=36),
}
PICTURE = (97, 61)


def random_tower(rng, t, kind):
    """Tensors under our names.  Every branch matters: norms 1 +- 0.3, biases of 0.3, attention scores with a spread of 2."""
    d, f, n_pixel = t["d"], t["f"], 3 * t["p"] ** 2
    rows = (t["s"] // t["p"]) ** 2 + (kind != "siglip")
    w = {"v.patch_embd.weight": rng.normal(0, 1.5 * n_pixel ** -0.5, (d, 3, t["p"], t["p"])),
         "v.position_embd.weight": rng.normal(0, 0.5, (rows, d))}

    def norm(name):
        w[name + ".weight"] = 1 + 0.3 * rng.normal(size=d)
        w[name + ".bias"] = 0.3 * rng.normal(size=d)

    def linear(name, rows, cols, gain=1.0):
        w[name + ".weight"] = rng.normal(0, gain * cols ** -0.5, (rows, cols))
        w[name + ".bias"] = 0.3 * rng.normal(size=rows)

    if kind != "clip":
        w["v.patch_embd.bias"] = 0.3 * rng.normal(size=d)
    if kind != "siglip":
        w["v.class_embd"] = rng.normal(0, 0.7, d)
    if kind == "clip":
        norm("v.pre_ln")
    for i in range(t["n"]):
        b = "v.blk.%d." % i
        norm(b + "ln1")
        norm(b + "ln2")
        for name, gain in (("attn_q", 1.5), ("attn_k", 1.5), ("attn_v", 1), ("attn_out", 1)):
            linear(b + name, d, d, gain)
        linear(b + "ffn_up", f, d, 1.5)
        linear(b + "ffn_down", d, f)
    if kind == "plain":
        norm("v.post_ln")
        linear("v.head", 10, d)
    else:
        linear("mm.0", 56, d, 1.5)
        linear("mm.2", t["o"], 56)
    return {k: v.astype(np.float32) for k, v in w.items()}


def official(t, kind, w, pixels):
    """Stages of CLIPVisionModel or SiglipVisionModel; one more block than is run, as select layer -2 has it."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel
    config, model = (CLIPVisionConfig, CLIPVisionModel) if kind == "clip" else (SiglipVisionConfig, SiglipVisionModel)
    act = {"gelu_quick": "quick_gelu", "gelu_tanh": "gelu_pytorch_tanh"}[t["act"]]
    c = config(hidden_size=t["d"], intermediate_size=t["f"], num_hidden_layers=t["n"] + 1, num_attention_heads=t["h"],
               image_size=t["s"], patch_size=t["p"], hidden_act=act, layer_norm_eps=t["eps"], attn_implementation="eager")
    m = model(c).double().eval()
    names = {"ln1": "layer_norm1", "ln2": "layer_norm2", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_out": "self_attn.out_proj", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}
    ends = {"v.class_embd": "embeddings.class_embedding", "v.position_embd.weight": "embeddings.position_embedding.weight"}
    state = m.state_dict()
    prefix = "vision_model." if any(k.startswith("vision_model.") for k in state) else ""
    used = 0
    for k, v in w.items():
        if k.startswith("mm."):
            continue
        part = k.split(".")
        if k in ends:
            name = ends[k]
        elif part[1] == "blk":
            name = "encoder.layers.%s.%s.%s" % (part[2], names[part[3]], part[4])
        else:
            name = {"patch_embd": "embeddings.patch_embedding", "pre_ln": "pre_layrnorm"}[part[1]] + "." + part[2]
        state[prefix + name].copy_(torch.from_numpy(v).double())
        used += 1
    vm = m.vision_model if prefix else m
    x = torch.from_numpy(pixels).double()[None]
    with torch.no_grad():
        hidden = m(pixel_values=x, output_hidden_states=True).hidden_states
        patch = vm.embeddings.patch_embedding(x).flatten(2).transpose(1, 2)
        stages = {"v.patch": patch[0], "v.pre_ln": hidden[0][0]}
        for i in range(t["n"]):
            stages["v.blk.%d.out" % i] = hidden[i + 1][0]
        stages["v.selected"] = hidden[-2][0][1:]
        mm = {k: torch.from_numpy(v).double() for k, v in w.items() if k.startswith("mm.")}
        y = torch.nn.functional.linear(stages["v.selected"], mm["mm.0.weight"], mm["mm.0.bias"])
        stages["mm.out"] = torch.nn.functional.linear(torch.nn.functional.gelu(y), mm["mm.2.weight"], mm["mm.2.bias"])
    return {k: v.numpy() for k, v in stages.items()}


def plain(t, w, pixels):
    """timm's VisionTransformer, from the formulas."""
    from math import erf
    w = {k: v.astype(np.float64) for k, v in w.items()}
    p, g, d, h = t["p"], t["s"] // t["p"], t["d"], t["h"]

    def norm(x, name):
        m = x.mean(-1, keepdims=True)
        return (x - m) / np.sqrt(((x - m) ** 2).mean(-1, keepdims=True) + t["eps"]) * w[name + ".weight"] + w[name + ".bias"]

    def linear(x, name):
        return x @ w[name + ".weight"].reshape(-1, x.shape[-1]).T + w[name + ".bias"]

    x = pixels.astype(np.float64).reshape(3, g, p, g, p).transpose(1, 3, 0, 2, 4).reshape(g * g, 3 * p * p)
    stages = {"v.patch": linear(x, "v.patch_embd")}
    x = np.concatenate([w["v.class_embd"][None], stages["v.patch"]]) + w["v.position_embd.weight"]
    stages["v.pre_ln"] = x
    for i in range(t["n"]):
        b = "v.blk.%d." % i
        y = norm(x, b + "ln1")
        q, k, v = (linear(y, b + n).reshape(-1, h, d // h).transpose(1, 0, 2) for n in ("attn_q", "attn_k", "attn_v"))
        s = q @ k.transpose(0, 2, 1) * (d // h) ** -0.5
        s = np.exp(s - s.max(-1, keepdims=True))
        y = (s / s.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(-1, d)
        x = x + linear(y, b + "attn_out")
        y = linear(norm(x, b + "ln2"), b + "ffn_up")
        x = x + linear(y * 0.5 * (1 + np.vectorize(erf)(y * 0.5 ** 0.5)), b + "ffn_down")
        stages[b + "out"] = x
    stages["v.selected"] = x[1:]
    stages["v.post_ln"] = norm(x, "v.post_ln")
    stages["v.head"] = linear(stages["v.post_ln"][:1], "v.head")
    return stages


def write_gguf(path, t, w, mean, std):
    import gguf
    out = gguf.GGUFWriter(path, "octavius")
    for key, value in (("image_size", t["s"]), ("patch_size", t["p"]), ("embedding_length", t["d"]), ("block_count", t["n"]),
                       ("feed_forward_length", t["f"]), ("head_count", t["h"]), ("resize_side", t.get("side", t["s"]))):
        out.add_uint32("octavius.v." + key, value)
    out.add_float32("octavius.v.layer_norm_epsilon", t["eps"])
    out.add_array("octavius.v.image_mean", mean)
    out.add_array("octavius.v.image_std", std)
    out.add_string("octavius.v.activation", t["act"])
    out.add_string("octavius.v.resize", t["resize"])
    for name, v in w.items():
        out.add_tensor(name, v)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def write_dump(path, stages):
    with open(path, "wb") as f:
        f.write(b"OCTG" + struct.pack("<II", 1, len(stages)))
        for name, v in stages.items():
            n = name.encode()
            v = np.ascontiguousarray(v, np.float32)
            f.write(struct.pack("<I", len(n)) + n + bytes(-len(n) % 4) + struct.pack("<IIII", 0, 2, *v.shape) + v.tobytes())


def towers(folder):
    rng = np.random.Generator(np.random.PCG64(20))
    for kind, t in TOWERS.items():
        mean, std = (CLIP_MEAN, CLIP_STD) if kind == "clip" else ([0.5] * 3, [0.5] * 3)
        w = random_tower(rng, t, kind)
        _, pixels = prepare(picture(*PICTURE, "RGB"), t["resize"], 0, t["s"], t.get("side", t["s"]), mean, std)
        stages = {"v.pixels": pixels.reshape(-1, t["s"])}
        stages.update(plain(t, w, pixels) if kind == "plain" else official(t, kind, w, pixels))
        write_gguf(os.path.join(folder, "vit-%s.gguf" % kind), t, w, mean, std)
        write_dump(os.path.join(folder, "vit-%s.bin" % kind), stages)
        print(kind, {k: (v.shape, "%.2g" % abs(v).max()) for k, v in stages.items()})


def versions():
    import PIL
    import transformers
    return PIL.__version__, transformers.__version__


if __name__ == "__main__":
    if sys.argv[1:2] not in (["pictures"], ["towers"]):
        sys.exit(__doc__)
    if int(versions()[0].split(".")[0]) >= 13:
        sys.exit("Pillow %s: wanted one before 13, see above" % versions()[0])
    if sys.argv[1] == "pictures":
        pictures()
    else:
        towers(sys.argv[3] if sys.argv[2:3] == ["-o"] else "tests/golden")
