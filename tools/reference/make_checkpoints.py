#!/usr/bin/env python3
"""Writes tests/golden/convert: one tiny random LLaMA in every container that octavius-convert reads, and its logits.

All by their official writers: torch, safetensors, sentencepiece, transformers.  Run from the repository's root.
"""
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
import sentencepiece as spm
from transformers import LlamaConfig, LlamaForCausalLM, PhiConfig, PhiForCausalLM

OUT = Path("tests/golden/convert")
IDS = [1, 5, 9, 17, 30, 3, 2, 11]
SIZES = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, vocab_size=32,
             max_position_embeddings=64, rms_norm_eps=1e-5)


def tokenizer():
    words = "a cab met the team at the mat a beam a tame bat met them that mate came the ham tea beet"
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter([words] * 20), model_writer=out, model_type="bpe", vocab_size=SIZES["vocab_size"],
                                   character_coverage=1.0, normalization_rule_name="identity", minloglevel=2)
    return out.getvalue()


def deflate(source, target):
    with zipfile.ZipFile(source) as a, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as b:
        for member in a.infolist():
            b.writestr(member.filename, a.read(member))


def phi():
    """Phi-2 in the layout in which it was first published, and its logits."""
    folder = OUT / "phi-first"
    folder.mkdir(exist_ok=True)
    model = PhiForCausalLM(PhiConfig(hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2, vocab_size=32,
                                     max_position_embeddings=64, partial_rotary_factor=0.5)).eval()
    for p in model.parameters():
        p.data = (p.data + 0.1 * torch.randn_like(p) if p.dim() == 1 else torch.randn_like(p) / p.shape[-1] ** 0.5).half().float()
    w, out = {name: t.half() for name, t in model.state_dict().items()}, {}
    out["transformer.embd.wte.weight"] = w["model.embed_tokens.weight"]
    a, b = "model.layers.0", "transformer.h.0"
    for end in ("weight", "bias"):
        out[f"lm_head.ln.{end}"], out[f"lm_head.linear.{end}"] = w[f"model.final_layernorm.{end}"], w[f"lm_head.{end}"]
        out[f"{b}.ln.{end}"], out[f"{b}.mixer.out_proj.{end}"] = w[f"{a}.input_layernorm.{end}"], w[f"{a}.self_attn.dense.{end}"]
        out[f"{b}.mixer.Wqkv.{end}"] = torch.cat([w[f"{a}.self_attn.{x}_proj.{end}"] for x in "qkv"])
        out[f"{b}.mlp.fc1.{end}"], out[f"{b}.mlp.fc2.{end}"] = w[f"{a}.mlp.fc1.{end}"], w[f"{a}.mlp.fc2.{end}"]
    out[f"{b}.mixer.rotary_emb.inv_freq"] = torch.ones(2)
    torch.save(out, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    (folder / "config.json").write_text(json.dumps(dict(
        model_type="phi-msft", n_embd=16, n_head=2, n_layer=1, n_inner=None, n_positions=64, rotary_dim=4, layer_norm_epsilon=1e-5,
        tie_word_embeddings=False, vocab_size=32), indent=1) + "\n")
    with torch.no_grad():
        np.save(folder / "logits.npy", model.double()(torch.tensor([IDS])).logits[0].float().numpy())


def main():
    torch.manual_seed(7)
    model = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    for p in model.parameters():
        p.data = (p.data + 0.1 * torch.randn_like(p) if p.dim() == 1 else torch.randn_like(p) / p.shape[-1] ** 0.5).half().float()
    weights = {name: t.half().contiguous() for name, t in model.state_dict().items()}
    with torch.no_grad():
        np.save(OUT / "logits.npy", model.double()(torch.tensor([IDS])).logits[0].float().numpy())
    (OUT / "config.json").write_text(json.dumps({"model_type": "llama", "tie_word_embeddings": False, "rope_theta": 10000.0, **SIZES}, indent=1) + "\n")
    (OUT / "tokenizer.model").write_bytes(tokenizer())
    save_file(weights, OUT / "plain.safetensors")
    torch.save(weights, OUT / "zip.bin")
    deflate(OUT / "zip.bin", OUT / "deflated.bin")
    torch.save(weights, OUT / "stream.bin", _use_new_zipfile_serialization=False)
    nested = {name: torch.nn.Parameter(t.t().contiguous().t() if t.dim() == 2 else t) for name, t in weights.items()}
    torch.save({"epoch": 3, "model": nested, "best": 0.5}, OUT / "nested.bin")
    phi()


if __name__ == "__main__":
    main()
