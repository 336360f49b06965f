#!/usr/bin/env python3
"""Tiny random models as transformers saves them, through octavius-convert, against transformers itself.

    compare_converted.py BUILD [--vocab FOLDER]

BUILD holds octavius-convert and octavius-inspect.  Logits of 48 tokens: LLaMA with every rope scaling, Qwen2, Phi, Phi in the
layout of its first publication; LLaVA in transformers' own layout with a picture.  --vocab: the folder of the test data's
vocabularies; then ids of its strings by tokenizer.json, for LLaMA and Qwen2.  Needs torch, transformers, tokenizers, gguf, Pillow.
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
import transformers
from transformers import (CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlamaForCausalLM, LlavaConfig, LlavaForConditionalGeneration,
                          PhiConfig, PhiForCausalLM, Qwen2Config, Qwen2ForCausalLM)

warnings.filterwarnings("ignore")
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
IDS = [1, 5, 9, 17, 30, 3, 2, 11] * 6
SIZES = dict(hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, vocab_size=32,
             max_position_embeddings=64, rms_norm_eps=1e-5)
PHI = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, vocab_size=32, max_position_embeddings=64)
ROPES = {
    "default": {}, "linear": dict(factor=4.0), "yarn": dict(factor=4.0, original_max_position_embeddings=16),
    "yarn, own factors": dict(factor=8.0, original_max_position_embeddings=32, beta_fast=16, beta_slow=2, attention_factor=1.5),
    "llama3": dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32),
}


def make(model):
    model = model.eval().double()
    for p in model.parameters():
        p.data = (p.data + 0.1 * torch.randn_like(p) if p.dim() == 1 else torch.randn_like(p) / p.shape[-1] ** 0.5).half().double()
    return model


def save(model, folder):
    model.float().save_pretrained(folder)
    model.double()
    shutil.copy("tests/golden/convert/tokenizer.model", folder)


class Runner:
    def __init__(self, build, tmp):
        self.build, self.gguf, self.npy, self.bad = build, tmp / "model.gguf", tmp / "out", 0

    def run(self, program, *args, **more):
        return subprocess.run([self.build / program, *map(str, args)], check=True, stderr=subprocess.PIPE, **more)

    def convert(self, folder):
        self.run("octavius-convert", folder, "--type", "f32", "--force", "-o", self.gguf)

    def logits(self, folder):
        self.convert(folder)
        path = self.npy.with_suffix(".npy")
        self.run("octavius-inspect", "logits", self.gguf, "--ids", ",".join(map(str, IDS)), "--kv", "f32", "--exact", "-o", path)
        return np.load(path)

    def say(self, name, got, ref):
        off = np.abs(got - ref).max() / np.abs(ref).max() if got.shape == ref.shape else np.inf
        self.bad += not off < 1e-4
        print(f"{name:32} {off:.1e}")


def reference(model):
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].float().numpy()


# --- text --------------------------------------------------------------------------------------------

def old_names(folder, rope):
    """As configs had it before transformers 5."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("rope_parameters")
    old = {"type" if k == "rope_type" else k: v for k, v in rope.items() if k != "rope_theta"}
    path.write_text(json.dumps({**config, "rope_theta": rope["rope_theta"], "rope_scaling": old}))


def ropes(r, tmp):
    for name, values in ROPES.items():
        rope = {"rope_type": name.split(",")[0], "rope_theta": 10000.0, **values}
        model = make(LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=rope)))
        folder = tmp / name.replace(", ", "-").replace(" ", "-")
        save(model, folder)
        ref = reference(model)
        r.say(f"LLaMA, rope {name}", r.logits(folder), ref)
        old_names(folder, rope)
        r.say(f"LLaMA, rope {name}, old config", r.logits(folder), ref)


def phi_first(model, folder):
    """Phi-2 as it was first published."""
    w, out = {name: t.float() for name, t in model.state_dict().items()}, {}
    out["transformer.embd.wte.weight"] = w["model.embed_tokens.weight"]
    for end in ("weight", "bias"):
        out[f"lm_head.ln.{end}"], out[f"lm_head.linear.{end}"] = w[f"model.final_layernorm.{end}"], w[f"lm_head.{end}"]
        for i in range(PHI["num_hidden_layers"]):
            a, b = f"model.layers.{i}", f"transformer.h.{i}"
            out[f"{b}.ln.{end}"] = w[f"{a}.input_layernorm.{end}"]
            out[f"{b}.mixer.Wqkv.{end}"] = torch.cat([w[f"{a}.self_attn.{x}_proj.{end}"] for x in "qkv"])
            out[f"{b}.mixer.out_proj.{end}"] = w[f"{a}.self_attn.dense.{end}"]
            out[f"{b}.mlp.fc1.{end}"], out[f"{b}.mlp.fc2.{end}"] = w[f"{a}.mlp.fc1.{end}"], w[f"{a}.mlp.fc2.{end}"]
    folder.mkdir()
    torch.save(out, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(dict(
        model_type="phi-msft", n_embd=32, n_head=2, n_layer=2, n_inner=None, n_positions=64, rotary_dim=8, layer_norm_epsilon=1e-5,
        tie_word_embeddings=False, vocab_size=32)))
    shutil.copy("tests/golden/convert/tokenizer.model", folder)


def families(r, tmp):
    rope = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=1e6)
    model = make(Qwen2ForCausalLM(Qwen2Config(**SIZES, rope_parameters=rope)))
    save(model, tmp / "qwen2")
    r.say("Qwen2, rope yarn", r.logits(tmp / "qwen2"), reference(model))
    model = make(PhiForCausalLM(PhiConfig(**PHI, partial_rotary_factor=0.5)))
    save(model, tmp / "phi")
    r.say("Phi", r.logits(tmp / "phi"), reference(model))
    phi_first(model, tmp / "phi-first")
    r.say("Phi, first layout", r.logits(tmp / "phi-first"), reference(model))


# --- LLaVA ---------------------------------------------------------------------------------------------

def llava(r, tmp):
    from PIL import Image
    vision = CLIPVisionConfig(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=7)
    config = LlavaConfig(vision_config=vision, text_config=LlamaConfig(**{**SIZES, "vocab_size": 33}), image_token_index=32)
    model, folder, side = make(LlavaForConditionalGeneration(config)), tmp / "llava", 28
    save(model, folder)
    processor = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor.save_pretrained(folder)
    picture = Image.fromarray(np.random.default_rng(5).integers(0, 255, (40, 50, 3), dtype=np.uint8))
    picture.save(tmp / "picture.png")
    r.convert(folder)
    r.run("octavius-inspect", "dump", r.gguf, "--image", tmp / "picture.png", "-p", "a cab met the team", "--kv", "f32", "--all", "-o", r.npy,
          stdout=subprocess.PIPE)
    pixels = processor(picture, return_tensors="pt").pixel_values.double()
    ids = np.load(r.npy / "ids.npy").astype(np.int64).ravel()
    with torch.no_grad():
        out = model(input_ids=torch.tensor([np.where(ids < 0, 32, ids)]), pixel_values=pixels, output_hidden_states=True)
    r.say("LLaVA, pixels", np.load(r.npy / "v.pixels.npy").ravel(), pixels.numpy().ravel())
    r.say("LLaVA, picture rows", np.load(r.npy / "mm.out.npy"), out.image_hidden_states.reshape(-1, 32).numpy())
    r.say("LLaVA, logits", np.load(r.npy / "logits.npy"), out.logits[0].float().numpy())


# --- tokenizer.json ---------------------------------------------------------------------------------------

def strings(path):
    return path.read_text().split("\n__ggml_vocab_test__\n")


def tokens(r, tmp, name, fast, cls, config, texts):
    folder = tmp / f"tokens-{name}"
    model = cls(config)
    model.save_pretrained(folder)
    fast.save(str(folder / "tokenizer.json"))
    r.convert(folder)
    wrong = 0
    for text in texts:
        got = r.run("octavius-inspect", "tokens", r.gguf, input=text.encode(), stdout=subprocess.PIPE).stdout.split()
        wrong += [int(i) for i in got] != fast.encode(text, add_special_tokens=False).ids
    r.bad += wrong > 0
    print(f"tokenizer.json of {name:15} {len(texts) - wrong} of {len(texts)} strings")


def llama_tokenizer(path):
    from sentencepiece import SentencePieceProcessor
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    sp = SentencePieceProcessor(model_file=str(path))
    vocab = {sp.id_to_piece(i): i for i in range(len(sp))}
    merges = sorted((-sp.get_score(vocab[p]), p[:i], p[i:]) for p in vocab for i in range(1, len(p)) if p[:i] in vocab and p[i:] in vocab
                    if not sp.is_byte(vocab[p]) and not sp.is_control(vocab[p]) and not sp.is_unknown(vocab[p]))
    t = Tokenizer(models.BPE(vocab, [(a, b) for _, a, b in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([AddedToken(x, normalized=False) for x in ("<unk>", "<s>", "</s>")])
    return t


def qwen2_tokenizer(path):
    import gguf
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    fields = gguf.GGUFReader(path).fields
    words, kinds = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    t = Tokenizer(models.BPE({w: i for i, w in enumerate(words) if kinds[i] == 1}, merges))
    t.normalizer = normalizers.NFC()
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.add_special_tokens([w for i, w in enumerate(words) if kinds[i] == 3])
    return t


def tokenizers(r, tmp, vocab):
    tiny = {**SIZES, "hidden_size": 4, "num_attention_heads": 1}
    fast = llama_tokenizer(vocab / "llama-tokenizer.model")
    tokens(r, tmp, "LLaMA", fast, LlamaForCausalLM, LlamaConfig(**{**tiny, "vocab_size": fast.get_vocab_size()}),
           strings(vocab / "ggml-vocab-llama-spm.gguf.inp"))
    fast = qwen2_tokenizer(vocab / "ggml-vocab-qwen2.gguf")
    tokens(r, tmp, "Qwen2", fast, Qwen2ForCausalLM, Qwen2Config(**{**tiny, "vocab_size": fast.get_vocab_size()}),
           strings(vocab / "ggml-vocab-qwen2.gguf.inp"))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("build", type=Path)
    p.add_argument("--vocab", type=Path)
    a = p.parse_args()
    torch.manual_seed(3)
    with tempfile.TemporaryDirectory() as name:
        tmp = Path(name)
        r = Runner(a.build.resolve(), tmp)
        ropes(r, tmp)
        families(r, tmp)
        llava(r, tmp)
        if a.vocab:
            tokenizers(r, tmp, a.vocab)
    return r.bad > 0


if __name__ == "__main__":
    sys.exit(main())
