#!/usr/bin/env python3
"""Writes tests/golden/convert/octavius and its neighbours: what octavius-convert reads for OCTAVIUS, tiny and random, in the
official names and containers, on the base of make_checkpoints.py.  Run from the repository's root, after that one.

`case.json` of each says how it is converted; check_octavius.py holds the result against it and writes sums.txt.
"""
import argparse
import io
import json
import pickle
from pathlib import Path

import torch
from torch import nn

OUT = Path("tests/golden/convert")
EMBD, EXPERTS, RANK, PIECES = 16, 3, 2, 32
LORA = {"q": 16, "k": 8, "v": 8, "o": 16}         # rows of the base's linears
WIDTH, HIDDEN, QUERIES = 8, 6, 4                  # of the aggregator


def random(*shape):
    return torch.randn(shape).half()


def case(name, family, convert, **more):
    (OUT / name).mkdir(exist_ok=True)
    (OUT / name / "case.json").write_text(json.dumps({"family": family, "convert": convert, **more}, indent=1) + "\n")


# --- deltas -------------------------------------------------------------------------------------------

def lora():
    w = {}
    for part, rows in LORA.items():
        at = f"llama_model.base_model.model.model.layers.0.self_attn.{part}_proj"
        w[f"{at}.lora_moe_A.default"] = random(EXPERTS, EMBD, RANK)
        w[f"{at}.lora_moe_B.default"] = random(EXPERTS, RANK, rows)
    return w


def resampler():
    w = {"resampler_3d.query_embed.weight": random(QUERIES, WIDTH)}
    for kind in ("cross", "self"):
        for part in "qkvo":
            w[f"resampler_3d.{kind}_attn.0.attention.fc_{part}.weight"] = random(WIDTH, WIDTH)
            w[f"resampler_3d.{kind}_attn.0.attention.fc_{part}.bias"] = random(WIDTH)
        w[f"resampler_3d.{kind}_attn.0.layer_norm.weight"] = random(WIDTH)
        w[f"resampler_3d.{kind}_attn.0.layer_norm.bias"] = random(WIDTH)
    for name, rows, cols in (("pos_3d_proj.0", HIDDEN, 6), ("pos_3d_proj.2", WIDTH, HIDDEN), ("llama_proj_3d.0", EMBD, WIDTH)):
        w[f"{name}.weight"], w[f"{name}.bias"] = random(rows, cols), random(rows)
    w["llama_proj_3d.1.weight"], w["llama_proj_3d.1.bias"] = random(EMBD), random(EMBD)
    return w


def delta(tags):
    rows = PIECES + 1 + tags
    return {"llama_model.base_model.model.model.embed_tokens.weight": random(rows, EMBD), **lora(),
            "llama_model.base_model.model.lm_head.weight": random(rows, EMBD)}


class Node(nn.Module):
    """A place for parameters."""

    def forward(self, x):
        return x


def archive(path, d=8, patch=2, side=2):
    """OpenAI's names in a TorchScript file."""
    w = {"class_embedding": (d,), "conv1.weight": (d, 3, patch, patch), "positional_embedding": (side * side + 1, d), "proj": (d, 4)}
    for name in ("ln_pre", "ln_post"):
        w[f"{name}.weight"] = w[f"{name}.bias"] = (d,)
    for i in range(2):
        at = f"transformer.resblocks.{i}"
        for name, shape in (("attn.in_proj_", (3 * d, d)), ("attn.out_proj.", (d, d)), ("mlp.c_fc.", (2 * d, d)), ("mlp.c_proj.", (d, 2 * d))):
            w[f"{at}.{name}weight"], w[f"{at}.{name}bias"] = shape, shape[:1]
        for name in ("ln_1", "ln_2"):
            w[f"{at}.{name}.weight"] = w[f"{at}.{name}.bias"] = (d,)
    root = Node()
    for name, shape in w.items():
        *parents, last = ("visual." + name).split(".")
        at = root
        for parent in parents:
            if not hasattr(at, parent):
                at.add_module(parent, Node())
            at = getattr(at, parent)
        exact = "ln_" in name or "embedding" in name
        at.register_parameter(last, nn.Parameter(random(*shape).float() if exact else random(*shape)))
    root.logit_scale = nn.Parameter(torch.zeros([]))
    torch.jit.save(torch.jit.script(root), path)


# --- batch norms and what has them ----------------------------------------------------------------------

def norm(w, name, n):
    w[f"{name}.weight"], w[f"{name}.bias"] = torch.rand(n) + 0.5, torch.randn(n)
    w[f"{name}.running_mean"], w[f"{name}.running_var"] = torch.randn(n), torch.rand(n) + 0.2
    w[f"{name}.num_batches_tracked"] = torch.tensor(7)


def linear(w, name, rows, cols, *ones, bias=True):
    w[f"{name}.weight"] = torch.randn(rows, cols, *ones)
    if bias:
        w[f"{name}.bias"] = torch.randn(rows)


def layer_norm(w, name, n):
    w[f"{name}.weight"], w[f"{name}.bias"] = torch.randn(n), torch.randn(n)


def point_encoder(d=8, token=6, depth=1):
    w = {"pc_projection": torch.randn(2 * d, 5), "logit_scale": torch.tensor(0.5), "visual.cls_token": torch.randn(1, 1, 2)}
    p = {"cls_token": torch.randn(1, 1, d), "cls_pos": torch.randn(1, 1, d)}
    linear(p, "encoder.first_conv.0", 4, 3, 1)
    norm(p, "encoder.first_conv.1", 4)
    linear(p, "encoder.first_conv.3", 5, 4, 1)
    linear(p, "encoder.second_conv.0", 10, 10, 1)
    norm(p, "encoder.second_conv.1", 10)
    linear(p, "encoder.second_conv.3", token, 10, 1)
    linear(p, "reduce_dim", d, token)
    linear(p, "pos_embed.0", 7, 3)
    linear(p, "pos_embed.2", d, 7)
    for i in range(depth):
        at = f"blocks.blocks.{i}"
        layer_norm(p, f"{at}.norm1", d)
        layer_norm(p, f"{at}.norm2", d)
        linear(p, f"{at}.attn.qkv", 3 * d, d, bias=False)
        linear(p, f"{at}.attn.proj", d, d)
        linear(p, f"{at}.mlp.fc1", 12, d)
        linear(p, f"{at}.mlp.fc2", d, 12)
    layer_norm(p, "norm", d)
    w.update({f"point_encoder.{name}": t for name, t in p.items()})
    return {f"module.{name}": t for name, t in w.items()}


def attention(w, name, d):
    w[f"{name}.in_proj_weight"], w[f"{name}.in_proj_bias"] = torch.randn(3 * d, d), torch.randn(3 * d)
    linear(w, f"{name}.out_proj", d, d)


def set_abstraction(w, name, widths):
    for i in range(3):
        linear(w, f"{name}.layer{i}.conv", widths[i + 1], widths[i], 1, 1, bias=False)
        norm(w, f"{name}.layer{i}.bn.bn", widths[i + 1])


def detector(e=8, d=6, classes=10, bins=2):
    w = {"pos_embedding.gauss_B": torch.randn(3, d // 2)}
    set_abstraction(w, "pre_encoder.mlp_module", (3, 4, 5, e))
    for part, width, cross in (("encoder", e, False), ("decoder", d, True)):
        at = f"{part}.layers.0"
        attention(w, f"{at}.self_attn", width)
        if cross:
            attention(w, f"{at}.multihead_attn", width)
        linear(w, f"{at}.linear1", 7, width)
        linear(w, f"{at}.linear2", width, 7)
        for k in range(3 if cross else 2):
            layer_norm(w, f"{at}.norm{k + 1}", width)
    layer_norm(w, "decoder.norm", d)
    set_abstraction(w, "encoder.interim_downsampling.mlp_module", (e + 3, 9, 9, e))
    for i, rows in enumerate((e, d)):
        linear(w, f"encoder_to_decoder_projection.layers.{3 * i}", rows, e, 1, bias=False)
        norm(w, f"encoder_to_decoder_projection.layers.{3 * i + 1}", rows)
    for i in (0, 2):
        linear(w, f"query_projection.layers.{i}", d, d, 1)
    for head, rows in (("sem_cls", classes + 1), ("center", 3), ("size", 3), ("angle_cls", bins), ("angle_residual", bins)):
        for i in (0, 4):
            linear(w, f"mlp_heads.{head}_head.layers.{i}", d, d, 1, bias=False)
            norm(w, f"mlp_heads.{head}_head.layers.{i + 1}", d)
        linear(w, f"mlp_heads.{head}_head.layers.8", rows, d, 1)
    return w


# --- features ----------------------------------------------------------------------------------------------

def features():
    scene, boxes = random(3, 4), random(3, 6)
    data = {"caption_list": [[]] * 3, "task_type_list": ["VQA3D", "classification3d", "VQA3D"],
            "vision_embeds_3d_ref_list": [torch.zeros(4).half(), random(4), torch.zeros(4).half()],
            "vision_pos_3d_ref_list": [torch.zeros(6).half(), random(6), torch.zeros(6).half()],
            "vision_embeds_3d_scene_prop_list": [scene, scene, random(5, 4)[1:3]],
            "vision_pos_3d_scene_prop_list": [boxes, boxes, random(2, 6)], "max_proposal_num": 3}
    (OUT / "features.pickle").write_bytes(pickle.dumps(data, protocol=4))
    (OUT / "features.json").write_text(json.dumps([{"task_type": t, "object_name": ""} for t in data["task_type_list"]]) + "\n")
    rows = [data["vision_embeds_3d_scene_prop_list"][0], data["vision_embeds_3d_ref_list"][1][None], data["vision_embeds_3d_scene_prop_list"][2]]
    codes = [boxes, data["vision_pos_3d_ref_list"][1][None], data["vision_pos_3d_scene_prop_list"][2]]
    with open(OUT / "features.bin", "wb") as f:                    # the numbers of all the arrays, question by question
        for a, b in zip(rows, codes):
            f.write(a.float().numpy().tobytes())
            f.write(torch.stack([b[:, [3 * (c >> k & 1) + k for k in range(3)]] for c in range(8)], 1).float().numpy().tobytes())


def main():
    torch.manual_seed(11)
    base = ["--base", ".."]
    case("octavius", "octavius", ["delta.pt", *base, "--vision", "ViT.pt", "--set", "octavius.v.head_count=2"], modality=["image", "pcl"])
    torch.save({**delta(4), **resampler(), "llama_proj.weight": random(EMBD, 8), "llama_proj.bias": random(EMBD),
                "gating_network.w_gating": random(EMBD, EXPERTS)}, OUT / "octavius/delta.pt")
    archive(OUT / "octavius/ViT.pt")
    case("octavius-bare", "octavius", ["delta.pt", *base], modality=["pcl"])
    torch.save({**lora(), **resampler(), "gating_network.w_gating": random(EMBD, EXPERTS)}, OUT / "octavius-bare/delta.pt")
    case("pointbert", "point-bert", ["--point-encoder", "best.pt", "--set", "octavius.pt.head_count=2"], sizes={"depth": 1})
    names = argparse.Namespace(npoints=48, betas=(0.9, 0.98), model="ULIP_PointBERT")
    torch.save({"epoch": 1, "state_dict": point_encoder(), "args": names}, OUT / "pointbert/best.pt")
    case("3detr-m", "3detr-m", ["--detector", "detr.pth"], sizes={"enc_layers": 1, "dec_layers": 1})
    names = argparse.Namespace(enc_nhead=2, dec_nhead=3, nqueries=9, preenc_npoints=20, enc_activation="relu", pos_embed="fourier")
    torch.save({"model": detector(), "optimizer": {"state": {}}, "epoch": 3, "args": names, "best_val_metrics": {0.25: 0.5}},
               OUT / "3detr-m/detr.pth", _use_new_zipfile_serialization=False)
    features()


if __name__ == "__main__":
    main()
