#!/usr/bin/env python3
"""Random LLaMA, Phi-2, StableLM-2 and Qwen folders through octavius-convert, then llama.cpp and octavius-inspect on the same file.

    compare_llamacpp.py BUILD TOKENIZER.model [TYPE ...]            # types: f32 q8_0 q4_k

Width 512, four layers, the official names.  llama.cpp loads each file and writes 64 tokens greedily after each of teacher_forced.py's
prompts; octavius-inspect gets each text and in F32 must want the same next tokens, as there.  Random weights give flat logits: where
llama.cpp rounds activations to int8 it wants other tokens than F32 at up to a tenth of the places, so with quantised types only the gap
between the two best is held, to 2 % of the range.  Needs torch, safetensors, llama-cpp-python.
"""
import json
import shutil
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import torch
from safetensors.torch import save_file

from teacher_forced import PROMPTS, compare_text, open_llama, run

D, FF, LAYERS, HEADS, V = 512, 1024, 4, 8, 32000


def matrix(rows, cols, by=1.0):
    return (by * torch.randn(rows, cols) / cols ** 0.5).half()


def norm(n):
    return (1 + 0.3 * torch.randn(n)).half()


def some(n):
    return (0.1 * torch.randn(n)).half()


def llama(w, i):
    at = f"model.layers.{i}"
    w[f"{at}.input_layernorm.weight"], w[f"{at}.post_attention_layernorm.weight"] = norm(D), norm(D)
    for part in "qkvo":
        w[f"{at}.self_attn.{part}_proj.weight"] = matrix(D, D, 1.3)
    for part, shape in (("gate", (FF, D)), ("up", (FF, D)), ("down", (D, FF))):
        w[f"{at}.mlp.{part}_proj.weight"] = matrix(*shape, 1.3)


def stablelm(w, i):
    llama(w, i)
    at = f"model.layers.{i}"
    w[f"{at}.input_layernorm.bias"], w[f"{at}.post_attention_layernorm.bias"] = some(D), some(D)
    for part in "qkv":
        w[f"{at}.self_attn.{part}_proj.bias"] = some(D)


def phi(w, i):
    at = f"model.layers.{i}"
    w[f"{at}.input_layernorm.weight"], w[f"{at}.input_layernorm.bias"] = norm(D), some(D)
    for part in ("q_proj", "k_proj", "v_proj", "dense"):
        w[f"{at}.self_attn.{part}.weight"], w[f"{at}.self_attn.{part}.bias"] = matrix(D, D, 1.3), some(D)
    for part, rows, cols in (("fc1", FF, D), ("fc2", D, FF)):
        w[f"{at}.mlp.{part}.weight"], w[f"{at}.mlp.{part}.bias"] = matrix(rows, cols, 1.3), some(rows)


def qwen(w, i):
    at = f"transformer.h.{i}"
    w[f"{at}.ln_1.weight"], w[f"{at}.ln_2.weight"] = norm(D), norm(D)
    w[f"{at}.attn.c_attn.weight"], w[f"{at}.attn.c_attn.bias"] = matrix(3 * D, D, 1.3), some(3 * D)
    w[f"{at}.attn.c_proj.weight"] = matrix(D, D, 1.3)
    for part, shape in (("w1", (FF, D)), ("w2", (FF, D)), ("c_proj", (D, FF))):
        w[f"{at}.mlp.{part}.weight"] = matrix(*shape, 1.3)


COMMON = dict(hidden_size=D, num_hidden_layers=LAYERS, num_attention_heads=HEADS, vocab_size=V, tie_word_embeddings=False)
FAMILIES = {
    "llama": (llama, dict(model_type="llama", intermediate_size=FF, num_key_value_heads=HEADS, rms_norm_eps=1e-5, rope_theta=10000.0,
                          max_position_embeddings=2048), ""),
    "phi": (phi, dict(model_type="phi", intermediate_size=FF, num_key_value_heads=HEADS, layer_norm_eps=1e-5, rope_theta=10000.0,
                      partial_rotary_factor=0.5, max_position_embeddings=2048), "phi"),
    "stablelm": (stablelm, dict(model_type="stablelm", intermediate_size=FF, num_key_value_heads=HEADS, layer_norm_eps=1e-5, rope_theta=10000.0,
                                partial_rotary_factor=0.25, use_qkv_bias=True, max_position_embeddings=2048), "bias"),
    "qwen": (qwen, dict(model_type="qwen", intermediate_size=2 * FF, layer_norm_epsilon=1e-6, rotary_emb_base=10000, kv_channels=D // HEADS,
                        seq_length=2048, max_position_embeddings=2048), "qwen"),
}


def make(name, folder, tokenizer):
    block, config, ends = FAMILIES[name]
    w = {}
    for i in range(LAYERS):
        block(w, i)
    embd, last = ("transformer.wte", "transformer.ln_f") if ends == "qwen" else ("model.embed_tokens", "model.final_layernorm" if ends == "phi" else "model.norm")
    w[f"{embd}.weight"], w[f"{last}.weight"], w["lm_head.weight"] = torch.randn(V, D).half(), norm(D), matrix(V, D)
    if ends in ("phi", "bias"):
        w[f"{last}.bias"] = some(D)
    if ends == "phi":
        w["lm_head.bias"] = some(V)
    folder.mkdir()
    save_file(w, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(COMMON | config))
    shutil.copy(tokenizer, folder / "tokenizer.model")


def main():
    build, tokenizer, types = Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:] or ["f32", "q8_0", "q4_k"]
    ok = True
    with tempfile.TemporaryDirectory() as name:
        tmp = Path(name)
        for n, family in enumerate(FAMILIES):
            torch.manual_seed(n)
            make(family, tmp / family, tokenizer)
            for kind in types:
                gguf = tmp / "model.gguf"
                run([build / "octavius-convert", tmp / family, "--type", kind, "--force", "-o", gguf])
                args = Namespace(model=str(gguf), inspect=build / "octavius-inspect", kv="f32", threads=2, flags=[])
                model = open_llama(args)
                seen = [compare_text(model, args, prompt, 64, name) for prompt in PROMPTS]
                places, other = sum(s[0] for s in seen), sum(s[1] for s in seen)
                gap, cosine = max(s[2] for s in seen), min(s[3] for s in seen)
                good = (other <= 0.03 * places or kind != "f32") and gap <= 0.02
                ok &= good
                print(f"{family:9} {kind:5} same token at {places - other} of {places} places, largest gap elsewhere {100 * gap:.2f} %, "
                      f"smallest cosine {cosine:.6f}{'' if good else '  FAILS'}", flush=True)
                del model
    return not ok


if __name__ == "__main__":
    sys.exit(main())
