#!/usr/bin/env python3
"""Writes tests/golden: tiny random models (CASE.gguf) and what the reference says about them (CASE.bin).

    make_golden.py [-o tests/golden] [CASE ...]

The weights are scaled so that every branch matters: norm weights 1 +- 0.3, biases far from zero, attention scores with
a spread of about 2.  Computed in float64, stored as float32.

CASE.bin, little-endian: "OCTG", u32 version (1), u32 number of arrays; then for each array
    u32 bytes of the name, the name padded with zeros to a multiple of 4,
    u32 type (0 float32, 1 int32), u32 number of dimensions, u32 dimensions, outermost first, the values.
Arrays: ids [T] and n_prompt [1]; every stage, all T rows; long.ids [L], long.rows [n] and the logits of those rows.
"""
import argparse
import os
import struct

import gguf
import numpy as np

from decoder import Model

N_PROMPT, N_STEP, N_LONG = 24, 6, 600
LONG_ROWS = [0, 63, 64, 511, 512, 575, 576, 599]      # both sides of the edges of tiles of 64 and spans of 512 keys

# d width, h query heads, g key/value heads, f feed-forward width, one layer if not said; then what differs from the
# plain form.  Head sizes 8, 10, 12, 16, 20, 24 and 40: few of them fill whole vectors.  moe: experts in every step-th layer;
# switch: with octavius.moe.* keys, so that one expert weighs its probability; each: the names of files before 2024.
# lora: experts with these gates, all of them at once, on these linears.
# seed: another one than the case's place gives.
CASES = {
    "llama":          dict(arch="llama", d=48, h=4, g=2, f=56, layers=2),
    "llama-linear":   dict(arch="llama", d=24, h=2, g=1, f=40, tied=True, rope=dict(type="linear", factor=4.0)),
    "llama-factors":  dict(arch="llama", d=40, h=2, g=1, f=56, tied=True, bpe="llama-bpe", rope_freqs=True),
    "llama-yarn":     dict(arch="llama", d=32, h=2, g=2, f=40, tied=True,
                           rope=dict(type="yarn", factor=4.0, original_context_length=64)),
    "llama-yarn-attn": dict(arch="llama", d=16, h=1, g=1, f=40, tied=True, base=500000.0,
                            rope=dict(type="yarn", factor=8.0, original_context_length=128, attn_factor=0.8)),
    "llama-bias":     dict(arch="llama", d=32, h=4, g=4, f=40, tied=True, bpe="smollm", bias="qkvo"),
    "llama-keylen":   dict(arch="llama", d=24, h=3, g=3, f=40, tied=True, d_head=20),
    "phi2":           dict(arch="phi2", d=40, h=1, g=1, f=72, layers=2, bpe="phi-2", n_rot=16, bias="qkvofn", fused=True),
    "phi2-split":     dict(arch="phi2", d=40, h=2, g=2, f=88, bpe="phi-2", n_rot=8, bias="qkvofn"),
    "stablelm":       dict(arch="stablelm", d=48, h=2, g=2, f=56, layers=2, bpe="stablelm2", n_rot=16, bias="qkvn"),
    "stablelm-plain": dict(arch="stablelm", d=24, h=2, g=1, f=40, bpe="stablelm2", n_rot=4),
    "stablelm-12b":   dict(arch="stablelm", d=40, h=2, g=1, f=56, bpe="stablelm2", n_rot=4, bias="n", head_norm=True,
                           parallel=True),
    "qwen":           dict(arch="qwen", d=40, h=2, g=2, f=56, layers=2, bpe="qwen2", bias="qkv", fused=True),
    "qwen2":          dict(arch="qwen2", d=40, h=4, g=2, f=56, layers=2, bpe="qwen2", bias="qkv", base=1000000.0),
    "qwen2-tied":     dict(arch="qwen2", d=40, h=5, g=1, f=56, bpe="qwen2", bias="qkvl", tied=True),
    "moe-llama":      dict(arch="llama", d=32, h=2, g=1, f=40, layers=2, tied=True, moe=dict(experts=4, k=2)),
    "moe-llama-top1": dict(arch="llama", d=24, h=2, g=1, f=40, tied=True, moe=dict(experts=3, k=1, each=True)),
    "moe-phi2":       dict(arch="phi2", d=40, h=2, g=2, f=56, layers=2, bpe="phi-2", n_rot=8, bias="qkvofn", fused=True,
                           moe=dict(experts=4, k=2, step=2, switch=True)),
    "moe-stablelm":   dict(arch="stablelm", d=40, h=2, g=2, f=56, layers=2, bpe="stablelm2", n_rot=4, bias="qkvn",
                           moe=dict(experts=4, k=2, step=2, switch=True)),
    "moe-stablelm-top1": dict(arch="stablelm", d=24, h=2, g=2, f=40, layers=2, bpe="stablelm2", n_rot=4, bias="qkvn",
                              seed=2, moe=dict(experts=4, k=1, step=2, switch=True)),
    "moe-qwen":       dict(arch="qwen", d=24, h=2, g=2, f=32, layers=2, bpe="qwen2", bias="qkv", fused=True,
                           seed=7, moe=dict(experts=17, k=3, step=2, switch=True)),
    "lora-llama":     dict(arch="llama", d=48, h=4, g=2, f=56, layers=2,
                           lora=dict(gate=[0.5, -0.4, 0.9, 0.3], rank=5, on="attn_q attn_k attn_v attn_output ffn_gate ffn_up ffn_down")),
    "lora-phi2":      dict(arch="phi2", d=40, h=2, g=2, f=56, bpe="phi-2", n_rot=8, bias="qkvofn",
                           lora=dict(gate=[0.3, 0.2, -0.5, 0.4, 0.6, -0.3], rank=17, on="attn_q attn_v attn_output ffn_up")),
    "lora-moe-llama": dict(arch="llama", d=32, h=2, g=1, f=40, layers=2, tied=True, seed=3, moe=dict(experts=4, k=2, step=2),
                           lora=dict(gate=[0.7, 0.3, -0.6], rank=8, on="attn_q attn_k attn_v attn_output")),
}


# --- vocabularies: small, but complete enough to encode any text ------------------------------------------------

def spm_vocab():
    """(tokens, scores, types) as SentencePiece has them: <unk> <s> </s>, 256 bytes, pieces."""
    pieces = ["▁", "▁t", "he", "▁the", "e", "t", "a", "o", "i", "n", "s", "h", "r", "in", "▁a", "er", "on", "re",
              "▁s", "at", "en", "d", "l", "▁o", "u", "c", "m", "w", "f", "ed"]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + pieces
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces))]
    types = [2, 3, 3] + [6] * 256 + [1] * len(pieces)
    return tokens, scores, types


def byte_symbols():
    """GPT-2's printable stand-ins of the 256 bytes, in order of the bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(i if i in kept else next(others)) for i in range(256)]


def bpe_vocab():
    """(tokens, merges, types): 256 bytes, merges, control tokens, padding."""
    space = byte_symbols()[32]
    merges = ["t h", "h e", "i n", f"{space} t", f"{space}t he", "e r", "a n", "r e", "o n", f"{space} a", "e s", "o r",
              f"{space} s", "a t", "e n", "n d", f"{space} w", "i s", "i t", "o u", f"{space} c", "l l", "a r", "e d"]
    tokens = byte_symbols() + [m.replace(" ", "") for m in merges]
    types = [1] * len(tokens)
    tokens += ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "[PAD283]", "[PAD284]"]
    return tokens, merges, types + [3, 3, 3, 5, 5]


def write_vocab(w, bpe):
    if bpe:
        tokens, merges, types = bpe_vocab()
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(bpe)
        w.add_token_merges(merges)
        w.add_bos_token_id(280)
        w.add_eos_token_id(280)
    else:
        tokens, scores, types = spm_vocab()
        w.add_tokenizer_model("llama")
        w.add_token_scores(scores)
        w.add_bos_token_id(1)
        w.add_eos_token_id(2)
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_add_bos_token(False)
    return len(tokens)


# --- weights ----------------------------------------------------------------------------------------------------

def weights(rng, n_vocab, arch, d, h, g, f, layers=1, d_head=None, tied=False, bias="", fused=False, n_rot=None,
            rope_freqs=False, head_norm=False, parallel=False, moe=None, lora=None, **_):
    """Name -> float32 array, in the order of the file.  bias: which linear layers have one: q, k, v, o(utput of the
    attention), f(eed-forward), l(ogits; with n in phi2 too), and n(orms)."""
    d_head = d_head or d // h
    out = {}

    def matrix(name, rows, cols, spread):
        out[name + ".weight"] = rng.normal(0, spread / np.sqrt(cols), (rows, cols))

    def vector(name, n, middle, spread):
        out[name] = rng.normal(middle, spread, n)

    def experts(name, rows, cols, spread):
        w = rng.normal(0, spread / np.sqrt(cols), (moe["experts"], rows, cols))
        if moe.get("each"):
            out.update({f"{name}.{e}.weight": w[e] for e in range(moe["experts"])})
        else:
            out[name + "_exps.weight"] = w

    def norm(name):
        vector(name + ".weight", d, 1, 0.3)
        if "n" in bias:
            vector(name + ".bias", d, 0, 0.3)

    out["token_embd.weight"] = rng.normal(0, 0.4 if tied else 1, (n_vocab, d))
    if rope_freqs:
        out["rope_freqs.weight"] = llama3_factors(d_head)
    for n in range(layers):
        b = f"blk.{n}."
        norm(b + "attn_norm")
        rows = {"q": h * d_head, "k": g * d_head, "v": g * d_head}
        for part, spread in (("q", 1.5), ("k", 1.5), ("v", 1.2)):
            matrix(b + "attn_" + part, rows[part], d, spread)
            if part in bias:
                vector(f"{b}attn_{part}.bias", rows[part], 0, 0.6)
        if fused:
            for end in ".weight", ".bias":
                out[b + "attn_qkv" + end] = np.concatenate([out.pop(b + "attn_" + part + end) for part in "qkv"])
        if head_norm:
            out[b + "attn_q_norm.weight"] = rng.normal(1.2, 0.4, (h, d_head))
            out[b + "attn_k_norm.weight"] = rng.normal(1.2, 0.4, (g, d_head))
        matrix(b + "attn_output", d, h * d_head, 1.2)
        if "o" in bias:
            vector(b + "attn_output.bias", d, 0, 0.4)
        sparse = moe and n % moe.get("step", 1) == 0
        if sparse:
            matrix(b + "ffn_gate_inp", moe["experts"], d, 1.5)
        ffn, end, lead = (experts, "_exps.bias", (moe["experts"],)) if sparse else (matrix, ".bias", ())
        if arch != "phi2":
            if not parallel:
                norm(b + "ffn_norm")
            ffn(b + "ffn_gate", f, d, 1.5)
        ffn(b + "ffn_up", f, d, 1.5)
        ffn(b + "ffn_down", d, f, 1.5)
        if "f" in bias:
            vector(b + "ffn_up" + end, (*lead, f), 0, 0.5)
            vector(b + "ffn_down" + end, (*lead, d), 0, 0.4)
    norm("output_norm")
    if not tied:
        matrix("output", n_vocab, d, 1.5)
    if "l" in bias or arch == "phi2":
        vector("output.bias", n_vocab, 0, 0.7)
    if lora:
        n, r = len(lora["gate"]), lora["rank"]
        for name in [name for name in out if name.endswith(".weight") and name.split(".")[2:3] and name.split(".")[2] in lora["on"].split()]:
            rows, cols = out[name].shape
            out[name.replace(".weight", ".lora_a")] = rng.normal(0, 1 / np.sqrt(cols), (n, r, cols))
            out[name.replace(".weight", ".lora_b")] = rng.normal(0, 1 / np.sqrt(r), (n, rows, r))
        out["gate.weight"] = rng.normal(0, 2 / np.sqrt(d), (n, d))
    return {name: w.astype(np.float32) for name, w in out.items()}


def llama3_factors(d_head, base=10000.0, factor=8.0, low=1.0, high=4.0, old=64):
    """What llama.cpp's converter stores for Llama-3.1's rope scaling: divisors of the frequencies."""
    wave = 2 * np.pi * base ** (np.arange(0, d_head, 2) / d_head)
    smooth = np.clip((old / wave - low) / (high - low), 0, 1)
    return 1 / ((1 - smooth) / factor + smooth)


def write_gguf(path, name, case, seed):
    w = gguf.GGUFWriter(path, case["arch"])
    arch, d, h = case["arch"], case["d"], case["h"]
    w.add_name(f"golden {name}")
    w.add_context_length(1024)
    w.add_embedding_length(d)
    w.add_block_count(case.get("layers", 1))
    w.add_feed_forward_length(case["f"] * (2 if arch == "qwen" else 1))
    w.add_head_count(h)
    w.add_head_count_kv(case["g"])
    if arch in ("phi2", "stablelm"):
        w.add_layer_norm_eps(1e-5)
    else:
        w.add_layer_norm_rms_eps(1e-6 if arch != "llama" else 1e-5)
    w.add_rope_dimension_count(case.get("n_rot") or case.get("d_head") or d // h)
    if case.get("d_head"):
        w.add_key_length(case["d_head"])
        w.add_value_length(case["d_head"])
    w.add_rope_freq_base(case.get("base", 10000.0))
    rope = case.get("rope", {})
    for key, value in rope.items():
        add = {str: w.add_string, float: w.add_float32, int: w.add_uint32}[type(value)]
        add(f"{arch}.rope.scaling.{key}", value)
    if case.get("parallel"):
        w.add_parallel_residual(True)
    if moe := case.get("moe"):
        w.add_expert_count(moe["experts"])
        w.add_expert_used_count(moe["k"])
        if moe.get("switch"):
            w.add_float32("octavius.moe.capacity_factor", 2.0)
            w.add_uint32("octavius.moe.min_capacity", 0)
    n_vocab = write_vocab(w, case.get("bpe"))
    for tensor, data in weights(np.random.default_rng(seed), n_vocab, **case).items():
        w.add_tensor(tensor, data)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return n_vocab


# --- dumps ------------------------------------------------------------------------------------------------------

def write_bin(path, arrays):
    with open(path, "wb") as f:
        f.write(struct.pack("<4sII", b"OCTG", 1, len(arrays)))
        for name, a in arrays.items():
            a = np.asarray(a)
            kind = 1 if a.dtype.kind in "iu" else 0
            raw = name.encode()
            f.write(struct.pack("<I", len(raw)) + raw + bytes(-len(raw) % 4))
            f.write(struct.pack(f"<II{a.ndim}I", kind, a.ndim, *a.shape))
            f.write(np.ascontiguousarray(a, dtype="<i4" if kind else "<f4").tobytes())


def check_routers(name, stages, k):
    """Every expert must be used, or leaving it out would go unnoticed."""
    for stage, logits in stages.items():
        if stage.endswith(".router") and len(np.unique(np.argsort(-logits, axis=1)[:, :k])) < logits.shape[1]:
            raise SystemExit(f"{name}: an expert of {stage} is never chosen: choose another seed")


def router_margin(stages, k):
    """How near the last chosen and the first left-out logit come: far more than float32's rounding, or it may choose otherwise."""
    logits = [np.sort(v, axis=1)[:, ::-1] for name, v in stages.items() if name.endswith(".router")]
    return min((float((v[:, k - 1] - v[:, k]).min()) for v in logits), default=np.inf)


def make(name, folder, seed):
    path = os.path.join(folder, name + ".gguf")
    n_vocab = write_gguf(path, name, CASES[name], seed)
    rng = np.random.default_rng(seed + 1)
    model = Model(path)
    given = CASES[name].get("lora", {}).get("gate")                # all experts at once, and the same for every part of the prompt
    ids = rng.integers(3, n_vocab - 5, N_PROMPT + N_STEP)
    arrays = {"ids": ids, "n_prompt": np.array([N_PROMPT])}
    arrays.update(model.run(ids, gate=given))
    if given:
        arrays["given.gate"] = np.array([given])
        arrays["own.gate"] = model.instance_gate(ids)[None]
    k = CASES[name].get("moe", {}).get("k")
    check_routers(name, arrays, k)
    margin = router_margin(arrays, k)
    # Few different ids: far keys then match as well as near ones, so that a lost tile shows.
    long_ids = rng.integers(3, n_vocab - 5, 40)[rng.integers(0, 40, N_LONG)]
    arrays["long.ids"] = long_ids
    arrays["long.rows"] = np.array(LONG_ROWS)
    long_stages = model.run(long_ids, gate=given)
    arrays["long.logits"] = long_stages["logits"][LONG_ROWS]
    margin = min(margin, router_margin(long_stages, k))
    if margin < 2e-5:
        raise SystemExit(f"{name}: two experts are too near each other, {margin:.1g}: choose another seed")
    write_bin(os.path.join(folder, name + ".bin"), arrays)
    size = sum(os.path.getsize(os.path.join(folder, name + end)) for end in (".gguf", ".bin"))
    print(f"{name:16} {size / 1024:6.0f} KiB   spread of the logits {arrays['logits'].std():.2f}")
    return size


def make_adapter(folder):
    """adapter.gguf, in llama.cpp's format, for llama.gguf; adapter.bin: the logits with it at scale 0.5, from merged weights."""
    path, rank, alpha, scale = os.path.join(folder, "adapter.gguf"), 3, 6.0, 0.5
    rng, model = np.random.default_rng(77), Model(os.path.join(folder, "llama.gguf"))
    w = gguf.GGUFWriter(path, "llama")
    w.add_string("general.type", "adapter")
    w.add_string("adapter.type", "lora")
    w.add_float32("adapter.lora.alpha", alpha)
    for name, kind in ("blk.0.attn_q", np.float32), ("blk.1.attn_output", np.float16), ("blk.1.ffn_down", np.float16):
        rows, cols = model.tensor[name + ".weight"].shape
        a, b = rng.normal(0, 1 / np.sqrt(cols), (rank, cols)).astype(kind), rng.normal(0, 1 / np.sqrt(rank), (rows, rank)).astype(kind)
        w.add_tensor(name + ".weight.lora_a", a)
        w.add_tensor(name + ".weight.lora_b", b)
        model.tensor[name + ".weight"] = model.tensor[name + ".weight"] + scale * alpha / rank * (b.astype(np.float64) @ a.astype(np.float64))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    ids = rng.integers(3, len(model.tensor["token_embd.weight"]) - 5, 12)
    write_bin(os.path.join(folder, "adapter.bin"), {"ids": ids, "logits": model.run(ids)["logits"]})


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("-o", "--out", default=os.path.join(here, "..", "..", "tests", "golden"))
    p.add_argument("case", nargs="*", help="default: all")
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    names = list(CASES)
    total = sum(make(name, args.out, 1000 + 10 * names.index(name) + CASES[name].get("seed", 0)) for name in args.case or names)
    make_adapter(args.out)
    print(f"{'together':16} {total / 1024:6.0f} KiB")


if __name__ == "__main__":
    main()
