#!/usr/bin/env python3
"""Writes tests/golden/tower.gguf: the smallest vision tower that makes rows of 64, random, for tests of the programs.  Needs gguf.

It stands in a file of its own, as llama.cpp's mmproj files do, but under our keys.  4 patches, so a picture takes 4 positions.
"""
import gguf
import numpy as np

PATCH, SIDE, WIDTH, FFN, OUT = 8, 16, 16, 32, 64
draw = np.random.Generator(np.random.PCG64(7))
w = gguf.GGUFWriter("tests/golden/tower.gguf", "octavius")
for key, value in (("image_size", SIDE), ("patch_size", PATCH), ("embedding_length", WIDTH), ("feed_forward_length", FFN),
                   ("block_count", 1), ("head_count", 2)):
    w.add_uint32(f"octavius.v.{key}", value)
w.add_float32("octavius.v.layer_norm_epsilon", 1e-5)
w.add_array("octavius.v.image_mean", [0.5, 0.5, 0.5])
w.add_array("octavius.v.image_std", [0.5, 0.5, 0.5])
w.add_string("octavius.v.activation", "gelu_quick")
w.add_string("octavius.v.resize", "pad")
shapes = {"v.class_embd": (WIDTH,), "v.patch_embd.weight": (WIDTH, 3, PATCH, PATCH), "v.position_embd.weight": ((SIDE // PATCH) ** 2 + 1, WIDTH)}
for norm in ("v.pre_ln", "v.blk.0.ln1", "v.blk.0.ln2"):
    shapes[norm + ".weight"] = shapes[norm + ".bias"] = (WIDTH,)
for name, rows, columns in (("v.blk.0.attn_q", WIDTH, WIDTH), ("v.blk.0.attn_k", WIDTH, WIDTH), ("v.blk.0.attn_v", WIDTH, WIDTH),
                            ("v.blk.0.attn_out", WIDTH, WIDTH), ("v.blk.0.ffn_up", FFN, WIDTH), ("v.blk.0.ffn_down", WIDTH, FFN),
                            ("mm.0", OUT, WIDTH), ("mm.2", OUT, OUT)):
    shapes[name + ".weight"], shapes[name + ".bias"] = (rows, columns), (rows,)
for name, shape in shapes.items():
    fan = np.prod(shape[1:]) if len(shape) > 1 else 1
    w.add_tensor(name, (draw.standard_normal(shape) / np.sqrt(fan)).astype(np.float32))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
