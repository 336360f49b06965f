#!/usr/bin/env python3
"""LoRA adapters: octavius-inspect against weights merged in float64, and against llama.cpp.

    compare_adapter.py MODEL.gguf [--build build] [--scale 0.7] [--ids 1,2,3]

Makes a random adapter on every linear of the model's layers and prints the relative error (max|a - b| / max|b|) of all logits, without
and with it.  Where the weights are quantised, llama.cpp's own error is that of its 8-bit activations.  Needs numpy, gguf and
llama-cpp-python.
"""
import argparse
import os
import subprocess
import tempfile

import gguf
import llama_cpp
import numpy as np

from decoder import Model

RANK, ALPHA = 8, 12.0


def make_adapter(model, path):
    """{tensor: alpha / rank * B A}"""
    reader = gguf.GGUFReader(model)
    w = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
    w.add_string("general.type", "adapter")
    w.add_string("adapter.type", "lora")
    w.add_float32("adapter.lora.alpha", ALPHA)
    rng, merged = np.random.default_rng(3), {}
    for t in reader.tensors:
        if t.name.startswith("blk.") and t.name.endswith(".weight") and "norm" not in t.name:
            cols, rows = (int(n) for n in t.shape)
            a = rng.normal(0, 1 / np.sqrt(cols), (RANK, cols)).astype(np.float32)
            b = rng.normal(0, 0.3 / np.sqrt(RANK), (rows, RANK)).astype(np.float32)
            w.add_tensor(t.name + ".lora_a", a)
            w.add_tensor(t.name + ".lora_b", b)
            merged[t.name] = ALPHA / RANK * (b.astype(np.float64) @ a.astype(np.float64))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return merged


def ours(build, model, ids, flags, folder):
    out = os.path.join(folder, "logits.npy")
    subprocess.run([os.path.join(build, "octavius-inspect"), "logits", model, "--ids", ",".join(map(str, ids)), "--kv", "f32", "--exact",
                    "-o", out, *flags], check=True)
    return np.load(out)


def theirs(model, ids, adapter, scale):
    quiet = llama_cpp.llama_log_callback(lambda level, text, user: None)
    llama_cpp.llama_log_set(quiet, None)
    how = llama_cpp.llama_model_default_params()
    how.use_extra_bufts = False
    m = llama_cpp.llama_model_load_from_file(model.encode(), how)
    how = llama_cpp.llama_context_default_params()
    how.n_ctx, how.n_batch, how.flash_attn_type = 256, 256, 0
    how.type_k = how.type_v = llama_cpp.GGML_TYPE_F32
    c = llama_cpp.llama_init_from_model(m, how)
    if adapter:
        llama_cpp.llama_set_adapter_lora(c, llama_cpp.llama_adapter_lora_init(m, adapter.encode()), scale)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
        batch.seq_id[i][0] = 0
    if llama_cpp.llama_decode(c, batch):
        raise SystemExit("llama.cpp: cannot decode")
    n = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(m))
    return np.stack([np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(c, i), (n,)).copy() for i in range(len(ids))])


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("--build", default="build")
    p.add_argument("--scale", type=float, default=0.7)
    p.add_argument("--ids", default="1,43,40,26,37,50,99,200,31,12,45,33")
    a = p.parse_args()
    ids = [int(i) for i in a.ids.split(",")]
    reference = Model(a.model)
    reference.gate = []

    def far(x, y):
        return f"{np.abs(x - y).max() / np.abs(y).max():.1e}"
    with tempfile.TemporaryDirectory() as folder:
        adapter = os.path.join(folder, "adapter.gguf")
        merged = make_adapter(a.model, adapter)
        plain = reference.run(ids)["logits"]
        for name, w in merged.items():
            reference.tensor[name] = reference.tensor[name] + a.scale * w
        want = reference.run(ids)["logits"]
        print(f"{len(merged)} linears; the adapter moves the logits by {far(want, plain)}")
        for what, flags, use, ref in ("without", [], None, plain), ("with it", ["--lora", f"{adapter}:{a.scale}"], adapter, want):
            x, y = ours(a.build, a.model, ids, flags, folder), theirs(a.model, ids, use, a.scale)
            print(f"{what}: octavius - float64 {far(x, ref)}, llama.cpp - float64 {far(y, ref)}, octavius - llama.cpp {far(x, y)}")


if __name__ == "__main__":
    main()
