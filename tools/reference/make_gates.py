#!/usr/bin/env python3
"""Writes tests/golden/moe-gates.bin: what DeepSpeed's own gates and layer gave (the golden case `capacity`), in one file.

    make_gates.py CAPACITY_CASE [-o tests/golden/moe-gates.bin]

Format: see make_golden.py.  Arrays: NN.{logits [S,E], choice [S,k], location [S,k], weight [S,k]} and NN.rule [1,4]: k,
factor, min_capacity, capacity; then one layer: layer.x, layer.router, layer.fc1.{weight,bias}, layer.fc2.{weight,bias} with the
experts' rows one below the other, layer.top2 (with drops), layer.top2-full and layer.top1-full.  With k = 1 and drops the official
code keeps random tokens: of those cases only the one whose numbers fall with the row is taken.
"""
import argparse
import json
from pathlib import Path

import numpy as np

from make_golden import write_bin


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("case", type=Path)
    p.add_argument("-o", "--out", default=Path(__file__).resolve().parents[2] / "tests/golden/moe-gates.bin")
    a = p.parse_args()
    case = json.loads((a.case / "case.json").read_text())
    arrays = {}
    for g in case["gates"]:
        if g["k"] == 1 and g["choices_dropped"] and not g["uniform"].startswith("first come"):
            continue
        n = g["id"]
        arrays[n + ".rule"] = np.array([[g["k"], g["capacity_factor"], g["min_capacity"], g["capacity"]]])
        arrays[n + ".logits"] = np.load(a.case / f"in/{n}.logits.npy")
        for part in ("choice", "location", "weight"):
            arrays[f"{n}.{part}"] = np.load(a.case / f"out/{n}.{part}.npy").reshape(g["tokens"], g["k"])
    experts = case["layer"]["sizes"]["E"]
    arrays["layer.x"] = np.load(a.case / "in/layer.x.npy")
    arrays["layer.router"] = np.load(a.case / "in/layer.deepspeed_moe.gate.wg.weight.npy")
    for part in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
        of = [np.load(a.case / f"in/layer.deepspeed_moe.experts.deepspeed_experts.{e}.{part}.npy") for e in range(experts)]
        arrays["layer." + part] = np.concatenate([np.atleast_2d(w) for w in of])
    for run in case["layer"]["runs"]:
        arrays["layer." + run["id"]] = np.load(a.case / f"out/layer.{run['id']}.y.npy")
        arrays[f"layer.{run['id']}.rule"] = np.array([[run["k"], run["capacity_factor"], run["min_capacity"]]])
    write_bin(a.out, arrays)
    print(f"{len(arrays)} arrays, {Path(a.out).stat().st_size} bytes")


if __name__ == "__main__":
    main()
