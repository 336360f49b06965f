#!/usr/bin/env python3
"""Vision towers of real width, random weights: every stage of `octavius-inspect dump` against transformers' modules in float64.

    compare_towers.py [--inspect build/octavius-inspect] [--isa avx2] [clip-l-336 siglip-so400m-384 ...]

Prints the largest of max|ours - official| / max|official| over all stages.  Takes minutes and some 5 GB.
"""
import argparse
import os
import subprocess
import tempfile

import numpy as np

import make_vision as mv

TOWERS = {
    "clip-l-336": ("clip", dict(d=1024, h=16, f=4096, n=23, s=336, p=14, o=2048, act="gelu_quick", eps=1e-5, resize="pad")),
    "clip-l-224": ("clip", dict(d=1024, h=16, f=4096, n=23, s=224, p=14, o=2048, act="gelu_quick", eps=1e-5, resize="crop")),
    "siglip-so400m-384": ("siglip", dict(d=1152, h=16, f=4304, n=26, s=384, p=14, o=2560, act="gelu_tanh", eps=1e-6,
                                         resize="squash")),
}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--inspect", default="build/octavius-inspect")
    a.add_argument("--isa")
    a.add_argument("towers", nargs="*", default=list(TOWERS))
    a = a.parse_args()
    for name in a.towers:
        kind, t = TOWERS[name]
        w = mv.random_tower(np.random.Generator(np.random.PCG64(1)), t, kind)
        mean, std = (mv.CLIP_MEAN, mv.CLIP_STD) if kind == "clip" else ([0.5] * 3, [0.5] * 3)
        picture = mv.picture(640, 479, "RGB")
        _, pixels = mv.prepare(picture, t["resize"], 0, t["s"], t["s"], mean, std)
        official = mv.official(t, kind, w, pixels)
        with tempfile.TemporaryDirectory() as folder:
            model, image = os.path.join(folder, "tower.gguf"), os.path.join(folder, "picture.png")
            mv.write_gguf(model, t, w, mean, std)
            picture.save(image)
            command = [a.inspect, "dump", model, "--image", image, "--all", "-o", os.path.join(folder, "out")]
            subprocess.run(command + (["--isa", a.isa] if a.isa else []), check=True)
            far = {}
            for stage, want in official.items():
                got = np.load(os.path.join(folder, "out", stage + ".npy")).astype(np.float64)
                far[stage] = abs(got - want).max() / abs(want).max()
        worst = max(far, key=far.get)
        print(f"{name}: {len(far)} stages, worst {worst} {far[worst]:.2g}, mm.out {far['mm.out']:.2g}", flush=True)


if __name__ == "__main__":
    main()
