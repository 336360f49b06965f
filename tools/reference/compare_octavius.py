#!/usr/bin/env python3
"""Tiny random OCTAVIUS checkpoints in the official layout, through octavius-convert, against the float64 reference.

    compare_octavius.py BUILD [--write FOLDER]

BUILD holds octavius-convert and octavius-inspect.  3, 4 and 6 LoRA experts on a LLaMA base, and on one with experts in every other
layer (mlp.deepspeed_moe, as MoE-LLaVA on LLaMA has them): the gate, every stage of a prompt, and the logits of steps after it.
The reference takes the checkpoint by golden_gguf.py's names, not the converter's file; with another gate, or with
one linear's A's in another order, it must differ.  --write leaves the last checkpoint and its logits
(tests/golden/convert/octavius-moe).  Needs torch, safetensors, gguf, numpy.
"""
import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import golden_gguf as golden
from decoder import Model
from make_octavius_checkpoints import archive

warnings.filterwarnings("ignore")
LAYERS, EMBD, HEADS, KV, FF, PIECES, TOWER = 2, 32, 4, 2, 40, 32, 8
IDS = [1, 5, 9, 17, 30, 3, 2, 11, 33, 34, 32, 7, 28]           # the rows of the tags among them
STEPS = 4
SHORT = [1, 5, 9, 17, 30, 3, 2, 11]                            # those of tests/test_convert.sh


def matrix(rows, cols):
    return (torch.randn(rows, cols) / cols ** 0.5).half().float()


def near_one(n):
    return (1 + 0.3 * torch.randn(n)).half().float()


def base(sparse):
    """A language model's config and tensors."""
    config = dict(model_type="llama", tie_word_embeddings=False, rope_theta=10000.0, hidden_size=EMBD, intermediate_size=FF,
                  num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV, vocab_size=PIECES,
                  max_position_embeddings=64, rms_norm_eps=1e-5)
    if sparse:
        config.update(model_type="moe_llava_llama", moe=dict(moe_enable=True, moe_layers_idx=[0], num_experts=[4], top_k_experts=2,
                                                             capacity_factor=1.5, eval_capacity_factor=2.0, min_capacity=0,
                                                             use_residual=False))
    w = {"model.embed_tokens.weight": torch.randn(PIECES, EMBD).half().float(), "lm_head.weight": 1.5 * matrix(PIECES, EMBD),
         "model.norm.weight": near_one(EMBD)}
    shapes = {"gate_proj": (FF, EMBD), "up_proj": (FF, EMBD), "down_proj": (EMBD, FF)}
    for i in range(LAYERS):
        at = f"model.layers.{i}"
        w[f"{at}.input_layernorm.weight"], w[f"{at}.post_attention_layernorm.weight"] = near_one(EMBD), near_one(EMBD)
        for part, rows in (("q", EMBD), ("k", EMBD // HEADS * KV), ("v", EMBD // HEADS * KV), ("o", EMBD)):
            w[f"{at}.self_attn.{part}_proj.weight"] = 1.3 * matrix(rows, EMBD)
        for part, shape in shapes.items():
            if sparse and i == 0:
                for e in range(4):
                    w[f"{at}.mlp.deepspeed_moe.experts.deepspeed_experts.{e}.{part}.weight"] = 1.5 * matrix(*shape)
            else:
                w[f"{at}.mlp.{part}.weight"] = 1.5 * matrix(*shape)
        if sparse and i == 0:
            w[f"{at}.mlp.deepspeed_moe.gate.wg.weight"] = 1.5 * matrix(4, EMBD)
    return config, w


def delta(experts, rank):
    rows, w = PIECES + 3, {}
    for i in range(LAYERS):
        for part, n in (("q", EMBD), ("k", EMBD // HEADS * KV), ("v", EMBD // HEADS * KV), ("o", EMBD)):
            at = f"llama_model.base_model.model.model.layers.{i}.self_attn.{part}_proj"
            w[f"{at}.lora_moe_A.default"] = torch.randn(experts, EMBD, rank).half() / EMBD ** 0.5
            w[f"{at}.lora_moe_B.default"] = torch.randn(experts, rank, n).half() / rank ** 0.5
    return {**w, "llama_model.base_model.model.model.embed_tokens.weight": torch.randn(rows, EMBD).half(),
            "llama_model.base_model.model.lm_head.weight": 1.5 * matrix(rows, EMBD).half(),
            "llama_proj.weight": torch.randn(EMBD, TOWER).half(), "llama_proj.bias": torch.randn(EMBD).half(),
            "gating_network.w_gating": torch.randn(EMBD, experts).half() / 3}


class Reference(Model):
    def __init__(self, config, weights, changed):
        weights = golden.octavius_weights(numbers(weights), numbers(changed))
        tensors = golden.language_tensors(weights, "llama", config) | golden.lora_tensors(numbers(changed), HEADS, KV)
        self.tensor = {name: w.astype(np.float64) for name, w in tensors.items()}
        self.arch, self.n_layer, self.n_embd, self.n_head, self.n_kv = "llama", LAYERS, EMBD, HEADS, KV
        self.d_head = self.n_rot = EMBD // HEADS
        self.eps = config["rms_norm_eps"]
        self.meta = {"llama.expert_used_count": 2, "octavius.lora.expert_used_count": 2}


def numbers(w):
    return {name: t.half().float().numpy() for name, t in w.items()}           # as the files have them


def off(got, ref):
    return np.abs(got - ref).max() / np.abs(ref).max() if got.shape == ref.shape else np.inf


def write(folder, config, weights, changed):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base").mkdir(exist_ok=True)
    (folder / "base/config.json").write_text(json.dumps(config, indent=1) + "\n")
    shutil.copy("tests/golden/convert/tokenizer.model", folder / "base")
    save_file({name: t.half() for name, t in weights.items()}, folder / "base/model.safetensors")
    torch.save(changed, folder / "delta.pt")
    archive(folder / "ViT.pt")
    convert = ["delta.pt", "--base", "base", "--vision", "ViT.pt", "--set", "octavius.v.head_count=2"]
    (folder / "case.json").write_text(json.dumps({"family": "octavius", "convert": convert, "modality": ["image"]}, indent=1) + "\n")
    return convert


def run(build, folder, convert):
    """The stages of the prompt, and the ids and logits of the steps after it."""
    gguf, out = folder / "model.gguf", folder / "out"
    for words in (["octavius-convert", *convert, "--type", "f32", "-o", gguf],
                  ["octavius-inspect", "dump", gguf, "--ids", ",".join(map(str, IDS)), "-n", str(STEPS), "--kv", "f32", "--all", "-o", out]):
        done = subprocess.run([build / words[0], *map(str, words[1:])], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{words[0]}: {done.stderr}")
    return {path.stem: np.load(path) for path in out.glob("*.npy")}


def compare(name, got, ref):
    gate, worst, where = ref.instance_gate(IDS), 0.0, ""
    want = ref.run(IDS)
    seen = set(want) & set(got)
    missing = set(want) - set(got)
    for stage in sorted(seen):
        d = off(got[stage], want[stage])
        if not d <= worst:
            worst, where = d, stage
    ids = list(IDS)
    for row in got["logits_step"]:
        d = off(row, ref.run(ids, gate=gate)["logits"][-1])
        if not d <= worst:
            worst, where = d, f"step {len(ids) - len(IDS)}"
        ids.append(int(row.argmax()))
    gate_off = np.abs(got["gate"].ravel() - gate).max() if "gate" in got else np.inf
    others = off(got["logits"], ref.run(IDS, gate=np.roll(gate, 1))["logits"])
    a = ref.tensor["blk.1.attn_v.lora_a"]
    ref.tensor["blk.1.attn_v.lora_a"] = np.roll(a, 1, 0)
    exchanged = off(got["logits"], ref.run(IDS, gate=gate)["logits"])
    ref.tensor["blk.1.attn_v.lora_a"] = a
    ok = not missing and gate_off < 1e-6 and worst < 1e-4 and min(others, exchanged) > 1e-3
    print(f"{name:28} {len(seen)} stages, {len(got['logits_step'])} steps: gate {gate_off:.1e}, worst {worst:.1e} ({where}); "
          f"another gate {others:.1e}, A's in another order {exchanged:.1e}{'' if ok else '  FAILS ' + ' '.join(sorted(missing))}")
    return ok


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("build", type=Path)
    p.add_argument("--write", type=Path)
    a = p.parse_args()
    ok, build = True, a.build.resolve()
    with tempfile.TemporaryDirectory() as tmp:
        for n, (experts, rank, sparse) in enumerate([(3, 4, False), (4, 8, False), (6, 2, False), (4, 8, True), (6, 3, True), (3, 4, True)]):
            torch.manual_seed(20 + n)
            folder = Path(tmp) / str(n)
            (config, weights), changed = base(sparse), delta(experts, rank)
            convert = write(folder, config, weights, changed)
            ref = Reference(config, weights, changed)
            ok &= compare(f"{experts} of rank {rank}, {'sparse' if sparse else 'dense'} base", run(build, folder, convert), ref)
        if a.write:
            write(a.write, config, weights, changed)
            np.save(a.write / "logits.npy", ref.run(SHORT)["logits"].astype(np.float32))
    return not ok


if __name__ == "__main__":
    sys.exit(main())
