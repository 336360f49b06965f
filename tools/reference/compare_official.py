#!/usr/bin/env python3
"""Compares the reference (decoder.py) with the official modules of transformers, stage by stage, on the same weights.

    compare_official.py [tests/golden/*.gguf]

Every golden model is poured into LlamaForCausalLM, PhiForCausalLM, StableLmForCausalLM or Qwen2ForCausalLM.  The modules
round some steps to float32 whatever the dtype of the model (norms, softmax, rotary angles); here torch.float32 means
float64 while they run, so that what is left is rounding in the fifteenth digit or a difference of formulas.
Qwen-1 has no class in transformers: its layer is Qwen2's with the fused q, k, v split and MHA, and is compared so.
"""
import argparse
import glob
import os
import sys

import numpy as np
import torch
import transformers
from transformers import (LlamaConfig, LlamaForCausalLM, PhiConfig, PhiForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          StableLmConfig, StableLmForCausalLM)

from decoder import Model

HF = {"llama": (LlamaConfig, LlamaForCausalLM), "phi2": (PhiConfig, PhiForCausalLM),
      "stablelm": (StableLmConfig, StableLmForCausalLM), "qwen": (Qwen2Config, Qwen2ForCausalLM),
      "qwen2": (Qwen2Config, Qwen2ForCausalLM)}
NAMES = {  # ours -> official, inside a layer
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_output": "self_attn.o_proj",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
PHI = dict(NAMES, attn_output="self_attn.dense", ffn_up="mlp.fc1", ffn_down="mlp.fc2")


def everything_in_double():
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double


def rope_parameters(m, name):
    rope = {"rope_type": "default", "rope_theta": float(m.key("rope.freq_base", 10000.0))}
    kind = m.key("rope.scaling.type", None) if f"{m.arch}.rope.scaling.type" in m.meta else None
    if kind:
        rope.update(rope_type=kind, factor=float(m.key("rope.scaling.factor")))
    if kind == "yarn":
        rope["original_max_position_embeddings"] = m.key("rope.scaling.original_context_length")
        if f"{m.arch}.rope.scaling.attn_factor" in m.meta:      # a multiplier in GGUF, the whole factor there
            rope["attention_factor"] = float(m.key("rope.scaling.attn_factor")) * (1 + 0.1 * np.log(rope["factor"]))
    if "rope_freqs.weight" in m.tensor:                         # as make_golden.py made them
        rope.update(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                    original_max_position_embeddings=64)
    if m.n_rot != m.d_head:
        rope["partial_rotary_factor"] = (m.n_rot + 1e-6) / m.d_head
    return rope


def config_of(m, name):
    has = m.tensor.__contains__
    common = dict(vocab_size=len(m.tensor["token_embd.weight"]), hidden_size=m.n_embd, num_hidden_layers=m.n_layer,
                  num_attention_heads=m.n_head, num_key_value_heads=m.n_kv, max_position_embeddings=m.key("context_length"),
                  intermediate_size=len(m.tensor["blk.0.ffn_up.weight"]), tie_word_embeddings=not has("output.weight"),
                  rope_parameters=rope_parameters(m, name), attn_implementation="eager", dtype="float64",
                  pad_token_id=None, bos_token_id=None, eos_token_id=None)
    if m.arch == "llama":
        common.update(rms_norm_eps=m.eps, head_dim=m.d_head, attention_bias=has("blk.0.attn_q.bias"))
    elif m.arch == "phi2":
        common.update(layer_norm_eps=m.eps, hidden_act="gelu_new")
    elif m.arch == "stablelm":
        common.update(layer_norm_eps=m.eps, use_qkv_bias=has("blk.0.attn_q.bias"), qk_layernorm=has("blk.0.attn_q_norm.weight"),
                      use_parallel_residual=not has("blk.0.ffn_norm.weight"))
    else:
        common.update(rms_norm_eps=m.eps)
    return HF[m.arch][0](**common)


def to_halves(w, heads):
    """Rows of q or k of a llama file (pairs side by side) to the official order (first halves, second halves)."""
    return w.reshape(heads, -1, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def official_weights(m):
    names, out = PHI if m.arch == "phi2" else NAMES, {}
    for name, w in m.tensor.items():
        base, end = name.rsplit(".", 1)
        if base == "rope_freqs":
            continue
        if base in ("token_embd", "output", "output_norm"):
            norm = "model.final_layernorm" if m.arch == "phi2" else "model.norm"
            out[{"token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": norm}[base] + "." + end] = w
            continue
        _, n, part = base.split(".")
        prefix = f"model.layers.{n}."
        if part == "attn_qkv":
            q, kv = m.n_head * m.d_head, m.n_kv * m.d_head
            for letter, piece in zip("qkv", np.split(w, [q, q + kv])):
                out[f"{prefix}self_attn.{letter}_proj.{end}"] = piece
        elif part in ("attn_q_norm", "attn_k_norm"):
            for h, row in enumerate(w):
                out[f"{prefix}self_attn.{part[5]}_layernorm.norms.{h}.{end}"] = row
        else:
            if m.arch == "llama" and part in ("attn_q", "attn_k"):
                w = to_halves(w, m.n_head if part == "attn_q" else m.n_kv)
            out[prefix + names[part] + "." + end] = w
    return {name: torch.tensor(np.ascontiguousarray(w), dtype=torch.float64) for name, w in out.items()}


def official_stages(m, name, ids):
    net = HF[m.arch][1](config_of(m, name)).double().eval()
    state = official_weights(m)
    extra_bias = state.pop("lm_head.bias", None) if net.lm_head.bias is None else None
    missing, unexpected = net.load_state_dict(state, strict=False)
    for key in missing:                                # absent norm biases are zero; a tied head is no weight of its own
        if key.endswith("norm.bias"):
            net.state_dict()[key].zero_()
        elif key != "lm_head.weight":
            raise SystemExit(f"{name}: {key} is missing")
    if unexpected:
        raise SystemExit(f"{name}: unexpected {unexpected}")
    stages = {}

    def keep(stage):
        def hook(module, args, result):
            result = result[0] if isinstance(result, tuple) else result
            stages[stage] = result.detach().reshape(len(ids), -1).numpy().copy()
        return hook
    body = net.model
    body.embed_tokens.register_forward_hook(keep("embd"))
    for n, layer in enumerate(body.layers):
        b = f"blk.{n}."
        layer.input_layernorm.register_forward_hook(keep(b + "attn_norm"))
        for part in "qkv":
            getattr(layer.self_attn, part + "_proj").register_forward_hook(keep(b + part))
        layer.self_attn.register_forward_hook(keep(b + "attn_out"))
        layer.mlp.register_forward_hook(keep(b + "ffn_out"))
        layer.register_forward_hook(keep(b + "out"))
    (body.final_layernorm if m.arch == "phi2" else body.norm).register_forward_hook(keep("output_norm"))
    net.lm_head.register_forward_hook(keep("logits"))
    with torch.no_grad():
        net(torch.tensor([list(map(int, ids))]), use_cache=False)
    if extra_bias is not None:
        stages["logits"] = stages["logits"] + extra_bias.numpy()
    return stages


def compare(path):
    name, m = os.path.splitext(os.path.basename(path))[0], Model(path)
    ids = np.random.default_rng(1).integers(3, 280, 150)
    ours, theirs = m.run(ids), official_stages(m, name, ids)
    assert set(ours) == set(theirs), set(ours) ^ set(theirs)
    worst = (0.0, "")
    for stage, a in ours.items():
        if m.arch == "llama" and stage[-2:] in (".q", ".k"):
            a = np.stack([to_halves(row, m.n_head if stage[-1] == "q" else m.n_kv) for row in a])
        worst = max(worst, (np.abs(a - theirs[stage]).max() / np.abs(theirs[stage]).max(), stage))
    print(f"| {name} | {HF[m.arch][1].__name__} | {len(ours)} | {worst[0]:.1e} | {worst[1]} |")
    return worst[0]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("file", nargs="*", default=sorted(glob.glob(os.path.join(here, "..", "..", "tests", "golden", "*.gguf"))))
    args = p.parse_args()
    transformers.logging.set_verbosity_error()
    everything_in_double()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, numpy {np.__version__}\n")
    print("| model | official class | stages | largest relative difference | at |\n|---|---|---|---|---|")
    worst = max([compare(path) for path in args.file])
    sys.exit(0 if worst < 1e-6 else 1)


if __name__ == "__main__":
    main()
