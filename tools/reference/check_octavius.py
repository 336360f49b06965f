#!/usr/bin/env python3
"""octavius-convert's OCTAVIUS, Point-BERT and 3DETR files against the checkpoints they came from.

    check_octavius.py CONVERT [--sums FILE] CASE...

CONVERT is build/octavius-convert, a CASE a folder of the golden test data or of tests/golden/convert.  Each is converted to F32;
then every tensor of the GGUF must be its source's (LLaMA's query and key rows permuted, LoRA factors, gate and projection turned),
bit for bit; weights and biases with a batch norm folded in may differ by 1e-6 of the largest.  No tensor may be missing or too
many.  --sums writes "case bytes sha256" of the tensors' data of all that agree, for tests/test_convert.sh.
Needs torch, gguf, numpy, safetensors.
"""
import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import gguf
import numpy as np
import torch

from safetensors.torch import load_file

import golden_gguf as golden

warnings.filterwarnings("ignore")
RESAMPLER = {"query_embed": "query", "pos_3d_proj": "pos", "llama_proj_3d": "out"}


def folded(w, conv, norm, name, out):
    """w: the checkpoint; conv, norm: prefixes there.  In float64, as the linear that both are together."""
    g, b, m, v = (w[f"{norm}.{end}"].astype(np.float64) for end in ("weight", "bias", "running_mean", "running_var"))
    scale = g / np.sqrt(v + 1e-5)
    matrix = w[f"{conv}.weight"].astype(np.float64)
    bias = w.get(f"{conv}.bias", np.zeros(len(g))).astype(np.float64)
    out[f"{name}.weight"] = (matrix.reshape(len(g), -1) * scale[:, None], 1e-6)
    out[f"{name}.bias"] = ((bias - m) * scale + b, 1e-6)


def plain(w, source, name, out):
    for end in ("weight", "bias"):
        if f"{source}.{end}" in w:
            t = w[f"{source}.{end}"]
            out[f"{name}.{end}"] = (t.reshape(t.shape[0], -1) if t.ndim > 1 else t, 0.0)


def aggregator(delta):
    out = {}
    for name, t in delta.items():
        m = re.fullmatch(r"resampler_3d\.(cross|self)_attn\.0\.(?:attention\.fc_([qkvo])|(layer_norm))\.(weight|bias)", name)
        if m:
            out[f"agg.{m[1]}_{m[2] or 'norm'}.{m[4]}"] = (t, 0.0)
        elif name == "resampler_3d.query_embed.weight":
            out["agg.query.weight"] = (t, 0.0)
        elif name.startswith(("pos_3d_proj.", "llama_proj_3d.")):
            out[re.sub(r"^\w+", lambda x: "agg." + RESAMPLER[x[0]], name)] = (t, 0.0)
    return out


def base_weights(folder):
    paths = sorted(folder.glob("*.safetensors"))
    w = [load_file(path) for path in paths] or [torch.load(path, map_location="cpu") for path in sorted(folder.glob("*.bin"))]
    return {name: t.to(torch.float32).numpy() for part in w for name, t in part.items()}


def grown(weights, rows):
    """A delta without embeddings: the base's, and their mean for the tokens behind them."""
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        w = weights[name]
        mean = w.astype(np.float64).mean(0, keepdims=True).astype(np.float32)
        weights[name] = np.concatenate([w, np.repeat(mean, rows - len(w), 0)])


def octavius(case, root):
    convert = case["convert"]
    base = root / convert[convert.index("--base") + 1]
    config = json.loads((base / "config.json").read_text())
    delta = load(root / convert[0])
    weights = golden.octavius_weights(base_weights(base), delta)
    if golden.DELTA + "lm_head.weight" not in delta:
        grown(weights, len(weights["lm_head.weight"]) + 1 + 2 * len(case["modality"]))
    out = {name: (t, 0.0) for name, t in golden.language_tensors(weights, "llama", config).items()}
    heads = config["num_attention_heads"]
    loras = golden.lora_tensors(delta, heads, config.get("num_key_value_heads", heads))
    out.update({name: (t, 0.0) for name, t in loras.items()})
    out.update(aggregator(delta))
    if "llama_proj.weight" in delta:
        out.update({f"mm.0.{end}": (delta[f"llama_proj.{end}"], 0.0) for end in ("weight", "bias")})
        w = gguf.GGUFWriter(None, "llama")
        golden.openai_tower(w, root / convert[convert.index("--vision") + 1])
        out.update({name: (t.tensor, 0.0) for name, t in w.tensors[0].items()})
    return out


def load(path, inner=None):
    w = torch.load(path, map_location="cpu", weights_only=False)
    w = w[inner] if inner else w
    return {name: t.to(torch.float32).numpy() for name, t in w.items() if t.is_floating_point()}


def point_encoder(case, root):
    w = {re.sub(r"^module\.(point_encoder\.)?", "", name): t for name, t in load(root / case["convert"][1], "state_dict").items()}
    out = {"pt.class_embd": (w["cls_token"], 0.0), "pt.class_pos": (w["cls_pos"], 0.0), "pt.proj.weight": (w["pc_projection"].T, 0.0)}
    folded(w, "encoder.first_conv.0", "encoder.first_conv.1", "pt.enc.0", out)
    folded(w, "encoder.second_conv.0", "encoder.second_conv.1", "pt.enc.2", out)
    for a, b in (("encoder.first_conv.3", "enc.1"), ("encoder.second_conv.3", "enc.3"), ("reduce_dim", "reduce"), ("norm", "post_ln"),
                 ("pos_embed.0", "pos.0"), ("pos_embed.2", "pos.2")):
        plain(w, a, "pt." + b, out)
    for i in range(case["sizes"]["depth"]):
        for a, b in (("norm1", "ln1"), ("norm2", "ln2"), ("attn.qkv", "attn_qkv"), ("attn.proj", "attn_out"), ("mlp.fc1", "ffn_up"),
                     ("mlp.fc2", "ffn_down")):
            plain(w, f"blocks.blocks.{i}.{a}", f"pt.blk.{i}.{b}", out)
    return out


def detector(case, root):
    w = load(root / case["convert"][1], "model")
    sizes, out = case["sizes"], {"det.pos.gauss": (w["pos_embedding.gauss_B"], 0.0)}
    for i in range(3):
        folded(w, f"pre_encoder.mlp_module.layer{i}.conv", f"pre_encoder.mlp_module.layer{i}.bn.bn", f"det.pre.{i}", out)
        down = f"encoder.interim_downsampling.mlp_module.layer{i}"
        if f"{down}.conv.weight" in w:
            folded(w, f"{down}.conv", f"{down}.bn.bn", f"det.interim.{i}", out)
        step = f"encoder_to_decoder_projection.layers.{3 * i}"
        if f"{step}.weight" in w:
            folded(w, step, f"encoder_to_decoder_projection.layers.{3 * i + 1}", f"det.mem.{i}", out)
    for part, n in (("encoder", sizes["enc_layers"]), ("decoder", sizes["dec_layers"])):
        for i in range(n):
            a, b = f"{part}.layers.{i}", f"det.{part[:3]}.blk.{i}"
            for attention, short in (("self_attn", "attn"), ("multihead_attn", "cross")):
                if f"{a}.{attention}.in_proj_weight" in w:
                    out[f"{b}.{short}_qkv.weight"] = (w[f"{a}.{attention}.in_proj_weight"], 0.0)
                    out[f"{b}.{short}_qkv.bias"] = (w[f"{a}.{attention}.in_proj_bias"], 0.0)
                    plain(w, f"{a}.{attention}.out_proj", f"{b}.{short}_out", out)
            for x, y in (("linear1", "ffn_up"), ("linear2", "ffn_down"), ("norm1", "ln1"), ("norm2", "ln2"), ("norm3", "ln3")):
                plain(w, f"{a}.{x}", f"{b}.{y}", out)
    plain(w, "decoder.norm", "det.dec.norm", out)
    for i in (0, 2):
        plain(w, f"query_projection.layers.{i}", f"det.query.{i}", out)
    for head in ("sem_cls", "center", "size", "angle_cls", "angle_residual"):
        at = f"mlp_heads.{head}_head.layers"
        folded(w, f"{at}.0", f"{at}.1", f"det.head.{head}.0", out)
        folded(w, f"{at}.4", f"{at}.5", f"det.head.{head}.1", out)
        plain(w, f"{at}.8", f"det.head.{head}.2", out)
    return out


def check(convert, root):
    case = json.loads((root / "case.json").read_text())
    family = case["family"]
    want = octavius(case, root) if family == "octavius" else detector(case, root) if family.startswith("3detr") else point_encoder(case, root)
    with tempfile.TemporaryDirectory() as tmp:
        path = Path(tmp) / "model.gguf"
        subprocess.run([convert, *case["convert"], "--type", "f32", "-o", path], cwd=root, check=True)
        reader = gguf.GGUFReader(path)
        data = path.read_bytes()[reader.data_offset:]
        got = {t.name: np.array(t.data).reshape([int(n) for n in reversed(t.shape)]) for t in reader.tensors}
    bad, worst = sorted(set(want) ^ set(got)), 0.0
    for name in set(want) & set(got):
        ref, tolerance = want[name]
        ref = np.asarray(ref).reshape(got[name].shape) if np.size(ref) == got[name].size and np.squeeze(ref).shape == np.squeeze(got[name]).shape else None
        off = np.inf if ref is None else np.abs(ref.astype(np.float64) - got[name]).max() / (np.abs(ref).max() or 1.0)
        worst = max(worst, off if tolerance else 0.0)
        if off > tolerance:
            bad.append(f"{name}: {off:.1e}")
    print(f"{root.name}: {len(got)} tensors, folded within {worst:.1e}, {len(bad)} differ {bad[:4] if bad else ''}")
    return None if bad else f"{'' if root.parent.name == 'convert' else 'official-'}{root.name} {len(data)} {hashlib.sha256(data).hexdigest()}\n"


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("convert", type=Path)
    p.add_argument("--sums", type=Path)
    p.add_argument("case", nargs="+", type=Path)
    a = p.parse_args()
    lines = [check(a.convert.resolve(), case) for case in a.case]
    if a.sums:
        a.sums.write_text("".join(line for line in lines if line))
    return not all(lines)


if __name__ == "__main__":
    sys.exit(main())
