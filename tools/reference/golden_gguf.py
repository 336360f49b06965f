#!/usr/bin/env python3
"""A case of the golden test data, which is in the official layout, as one GGUF file with llama.cpp's names and our keys.

    golden_gguf.py CASE OUT.gguf [--variant out-top1] [--text] [--f16]

CASE is a folder with case.json whose `convert` names the checkpoint and the vision tower.  --variant applies that variant's
config_changes first.  --text leaves the tower and the projector out.  All weights become F32, which is exact for F16 and BF16;
--f16: OCTAVIUS's matrices F16, which they are officially.
A checkpoint that is one file is OCTAVIUS's delta: its `convert` names the base model's folder and OpenAI's tower too.
Needs torch, safetensors, gguf and, for LLaMA, sentencepiece.
"""
import argparse
import base64
import json
import re
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors import safe_open

ARCHITECTURES = {  # model_type: (GGUF architecture, prompt style)
    "moe_llava_stablelm": ("stablelm", "stablelm"), "llava_stablelm": ("stablelm", "stablelm"),
    "moe_llava_qwen": ("qwen", "qwen"), "llava_qwen": ("qwen", "qwen"),
    "moe_llava_phi": ("phi2", "phi"), "llava_phi": ("phi2", "phi"),
    "moe_llava_llama": ("llama", "vicuna_v1"), "llava_llama": ("llama", "vicuna_v1"), "llava": ("llama", "vicuna_v1"),
}
BLOCK = {  # the part of an official name after the layer's number, without .weight or .bias
    "input_layernorm": "attn_norm", "ln_1": "attn_norm", "post_attention_layernorm": "ffn_norm", "ln_2": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.dense": "attn_output",
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
}
FFN = {  # Qwen: the gate is w2
    "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down", "fc1": "ffn_up", "fc2": "ffn_down",
    "w2": "ffn_gate", "w1": "ffn_up", "c_proj": "ffn_down",
}
ENDS = {
    "model.embed_tokens": "token_embd", "transformer.wte": "token_embd", "model.norm": "output_norm",
    "model.final_layernorm": "output_norm", "transformer.ln_f": "output_norm", "lm_head": "output",
}
TOWER = {
    "layer_norm1": "ln1", "layer_norm2": "ln2", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.out_proj": "attn_out", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down",
}
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


# --- the official files ---------------------------------------------------------------------------------

def read_json(path):
    return json.loads(path.read_text()) if path.exists() else {}


def read_weights(folder):
    """All tensors of a checkpoint folder by their official names, as F32."""
    out = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as f:
            out.update({name: f.get_tensor(name) for name in f.keys()})
    for path in sorted(folder.glob("*.bin")):
        out.update(torch.load(path, map_location="cpu"))
    return {name: t.to(torch.float32).numpy() for name, t in out.items() if t.is_floating_point()}


def change(config, changes):
    """{"moe.top_k_experts": 1} written into nested dictionaries."""
    for key, value in changes.items():
        *parents, last = key.split(".")
        at = config
        for name in parents:
            at = at[name]
        at[last] = value


# --- the language model ---------------------------------------------------------------------------------

def permute(w, heads):
    """Rows of a query or key matrix from halves (i, i + d/2) to neighbouring pairs, as GGUF's llama has them."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def language_tensors(weights, arch, config):
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    out, experts = {}, {}
    for name, w in weights.items():
        stem, kind = name.rsplit(".", 1)
        if stem in ENDS:
            out[f"{ENDS[stem]}.{kind}"] = w
            continue
        m = re.fullmatch(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.+)", stem)
        if not m or "rotary_emb" in name:
            continue
        layer, part = m.groups()
        if part in BLOCK:
            to = BLOCK[part]
            if arch == "llama" and to in ("attn_q", "attn_k"):
                w = permute(w, heads if to == "attn_q" else kv_heads)
            out[f"blk.{layer}.{to}.{kind}"] = w
        elif part == "mlp.deepspeed_moe.gate.wg":
            out[f"blk.{layer}.ffn_gate_inp.weight"] = w
        elif m := re.fullmatch(r"mlp\.deepspeed_moe\.experts\.deepspeed_experts\.(\d+)\.(\w+)", part):
            experts.setdefault(f"blk.{layer}.{FFN[m[2]]}_exps.{kind}", {})[int(m[1])] = w
        elif part.startswith("mlp.") and part[4:] in FFN:
            out[f"blk.{layer}.{FFN[part[4:]]}.{kind}"] = w
        elif part not in ("attn.masked_bias", "attn"):
            raise SystemExit(f"{name}: no place for it")
    for name, of in experts.items():
        out[name] = np.stack([of[e] for e in range(len(of))])      # [E, rows, cols], biases [E, rows]
    return out


def language_keys(w, arch, config, experts):
    heads = config["num_attention_heads"]
    width = config["hidden_size"]
    w.add_context_length(config.get("max_position_embeddings") or config["seq_length"])
    w.add_embedding_length(width)
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])         # Qwen's counts gate and up together, as llama.cpp's key does
    w.add_head_count(heads)
    w.add_head_count_kv(config.get("num_key_value_heads") or heads)
    w.add_rope_freq_base(float(config.get("rope_theta") or config.get("rotary_emb_base") or 10000.0))
    fraction = {"stablelm": config.get("rope_pct", 0.25), "phi2": config.get("partial_rotary_factor", 0.5)}.get(arch, 1.0)
    w.add_rope_dimension_count(int(fraction * (width // heads)))
    if arch in ("stablelm", "phi2"):
        w.add_layer_norm_eps(config.get("norm_eps") or config.get("layer_norm_eps") or 1e-5)
    else:
        w.add_layer_norm_rms_eps(config.get("rms_norm_eps") or config.get("layer_norm_epsilon") or 1e-6)
    if arch == "stablelm":
        w.add_parallel_residual(False)
    if arch == "qwen" and config.get("use_dynamic_ntk"):
        w.add_uint32("octavius.native_length", config["seq_length"])
    if experts:
        moe = config["moe"]
        w.add_expert_count(max(experts))
        w.add_expert_used_count(moe["top_k_experts"])
        w.add_float32("octavius.moe.capacity_factor", moe["eval_capacity_factor"])
        w.add_uint32("octavius.moe.min_capacity", moe["min_capacity"])


# --- tokenizers -----------------------------------------------------------------------------------------

def byte_letters():
    """GPT-2's printable letter for each byte."""
    own = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table = {b: chr(b) for b in own}
    for b in range(256):
        table.setdefault(b, chr(256 + len(table) - len(own)))
    return table


LETTERS = byte_letters()


def letters(token):
    return "".join(LETTERS[b] for b in token)


def last_merge(token, ranks):
    """The two parts whose merge makes this token: plain BPE with the merges that rank before it."""
    parts = [bytes([b]) for b in token]
    while len(parts) > 2:
        rank, i = min((ranks.get(parts[i] + parts[i + 1], 1 << 30), i) for i in range(len(parts) - 1))
        if rank >= ranks[token]:
            return None
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
    return parts if len(parts) == 2 else None


QWEN_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [f"<|extra_{i}|>" for i in range(205)]
ARCADE_SPECIALS = (["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<gh_stars>", "<filename>",
                    "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>", "<jupyter_code>",
                    "<jupyter_output>", "<empty_output>", "<commit_before>", "<commit_msg>", "<commit_after>", "<reponame>",
                    "<|endofprompt|>", "<|im_start|>", "<|im_end|>", "<|pause|>"] + [f"<|reg{i}|>" for i in range(8)] + ["<|extra0|>"])


def tiktoken_vocab(path, qwen):
    """tokens, types and merges of a rank file; Qwen's specials begin at the number of ranks, Arcade's one later."""
    ranks = {}
    for line in path.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    first = max(ranks.values()) + 1
    tokens = {rank: (letters(token), NORMAL) for token, rank in ranks.items()}
    specials = QWEN_SPECIALS if qwen else ARCADE_SPECIALS
    for i, text in enumerate(specials):
        tokens[first + (0 if qwen else 1) + i] = (text, CONTROL)
    merges = []
    for token in sorted(ranks, key=ranks.get):
        if len(token) > 1 and (parts := last_merge(token, ranks)):
            merges.append(f"{letters(parts[0])} {letters(parts[1])}")
    return tokens, merges


def gpt2_vocab(folder, eos):
    tokens = {i: (text, NORMAL) for text, i in read_json(folder / "vocab.json").items()}
    for text, i in read_json(folder / "added_tokens.json").items():
        tokens[i] = (text, USER if text.isspace() else CONTROL)
    merges = [line for line in (folder / "merges.txt").read_text().splitlines() if line and not line.startswith("#version")]
    return {i: (text, CONTROL if text == eos else kind) for i, (text, kind) in tokens.items()}, merges


def sentencepiece_vocab(path):
    from sentencepiece import SentencePieceProcessor
    sp = SentencePieceProcessor(str(path))
    tokens, scores = {}, []
    for i in range(sp.vocab_size()):
        kind = (UNKNOWN if sp.is_unknown(i) else CONTROL if sp.is_control(i) else UNUSED if sp.is_unused(i)
                else BYTE if sp.is_byte(i) else NORMAL)
        tokens[i] = (sp.id_to_piece(i), kind)
        scores.append(sp.get_score(i))
    return tokens, scores


def special_text(value):
    return value["content"] if isinstance(value, dict) else value


def tokenizer(w, folder, arch, n_rows, added=None):
    """Writes it and gives the ids of the texts.  `added`: {id: (text, type)} of tokens that stand in no file."""
    config = read_json(folder / "tokenizer_config.json")
    special = {kind: special_text(config.get(f"{kind}_token")) for kind in ("bos", "eos", "unk", "pad")}
    scores, merges, pre = None, None, None
    if arch == "llama":
        tokens, scores = sentencepiece_vocab(folder / "tokenizer.model")
    elif arch == "phi2":
        tokens, merges = gpt2_vocab(folder, special["eos"] or "<|endoftext|>")
        pre = "phi-2"
    else:
        path = next(folder.glob("*.tiktoken"))
        tokens, merges = tiktoken_vocab(path, path.name == "qwen.tiktoken")
        pre = "qwen2" if path.name == "qwen.tiktoken" else "stablelm2"
        special["bos"] = special["eos"] = "<|endoftext|>"         # the official tokenizers fix it; no text begins with it
    tokens.update(added or {})
    for i in range(n_rows):
        tokens.setdefault(i, (f"[PAD{i}]", UNUSED))                # rows without a token, and Arcade's gap
    texts = [tokens[i][0] for i in range(n_rows)]
    w.add_tokenizer_model("llama" if arch == "llama" else "gpt2")
    if pre:
        w.add_tokenizer_pre(pre)
    w.add_token_list(texts)
    if scores:
        w.add_token_scores(scores + [-1000.0] * (n_rows - len(scores)))
    w.add_token_types([tokens[i][1] for i in range(n_rows)])
    if merges is not None:
        w.add_token_merges(merges)
    ids = {text: i for i, text in reversed(list(enumerate(texts)))}
    for kind, add in (("bos", w.add_bos_token_id), ("eos", w.add_eos_token_id), ("unk", w.add_unk_token_id), ("pad", w.add_pad_token_id)):
        if special[kind] in ids:
            add(ids[special[kind]])
    w.add_add_bos_token(bool(config.get("add_bos_token", arch == "llama")))
    w.add_add_eos_token(False)
    if scores and "legacy" in config:
        w.add_bool("octavius.tokenizer.legacy", config["legacy"])  # false: no space is put before text behind a control token
    return ids


# --- the vision tower and the projector -----------------------------------------------------------------

def tower(w, folder, config):
    """From the tower's own folder: the copies in a checkpoint are ignored officially too."""
    whole = read_json(folder / "config.json")
    vision = whole.get("vision_config", whole)
    prep = read_json(folder / "preprocessor_config.json")
    siglip = "siglip" in vision.get("model_type", whole.get("model_type", ""))
    layers, select = vision["num_hidden_layers"], config["mm_vision_select_layer"]
    run = select if select >= 0 else layers + 1 + select            # blocks before the hidden state that is taken
    act = vision.get("hidden_act", "gelu_pytorch_tanh" if siglip else "quick_gelu")
    w.add_uint32("octavius.v.image_size", vision["image_size"])
    w.add_uint32("octavius.v.patch_size", vision["patch_size"])
    w.add_uint32("octavius.v.embedding_length", vision["hidden_size"])
    w.add_uint32("octavius.v.feed_forward_length", vision["intermediate_size"])
    w.add_uint32("octavius.v.block_count", run)
    w.add_uint32("octavius.v.head_count", vision["num_attention_heads"])
    w.add_float32("octavius.v.layer_norm_epsilon", vision.get("layer_norm_eps", 1e-6 if siglip else 1e-5))
    w.add_array("octavius.v.image_mean", [float(x) for x in prep["image_mean"]])
    w.add_array("octavius.v.image_std", [float(x) for x in prep["image_std"]])
    w.add_string("octavius.v.activation", {"quick_gelu": "gelu_quick", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}[act])
    w.add_string("octavius.v.resize", "pad" if config.get("image_aspect_ratio") == "pad" else "squash" if siglip else "crop")
    w.add_string("octavius.v.feature", config.get("mm_vision_select_feature", "patch"))
    weights = {name.removeprefix("vision_model."): t for name, t in read_weights(folder).items() if name.startswith("vision_model.")}
    ends = {"embeddings.class_embedding": "v.class_embd", "embeddings.patch_embedding.weight": "v.patch_embd.weight",
            "embeddings.patch_embedding.bias": "v.patch_embd.bias", "embeddings.position_embedding.weight": "v.position_embd.weight",
            "pre_layrnorm.weight": "v.pre_ln.weight", "pre_layrnorm.bias": "v.pre_ln.bias"}
    for name, t in weights.items():
        m = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
        if name in ends:
            w.add_tensor(ends[name], t)
        elif m and int(m[1]) < run:                                 # later blocks, post_layernorm and head are never run
            w.add_tensor(f"v.blk.{m[1]}.{TOWER[m[2]]}.{m[3]}", t)


def projector(w, weights):
    for name, t in weights.items():
        m = re.fullmatch(r"(?:model|transformer)\.mm_projector\.(?:image_spatial_proj\.)?(?:(\d+)\.)?(weight|bias)", name)
        if m:
            w.add_tensor(f"mm.{m[1] or 0}.{m[2]}", t)


# --- OCTAVIUS: LoRA experts and a gate beside a frozen LLaMA ---------------------------------------------

DELTA = "llama_model.base_model.model."
OPENAI = {  # a block's part in OpenAI's own file
    "ln_1": "ln1", "ln_2": "ln2", "attn.in_proj_": "attn_qkv", "attn.out_proj": "attn_out", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}
OPENAI_ENDS = {
    "visual.class_embedding": "v.class_embd", "visual.conv1.weight": "v.patch_embd.weight",
    "visual.positional_embedding": "v.position_embd.weight", "visual.ln_pre.weight": "v.pre_ln.weight", "visual.ln_pre.bias": "v.pre_ln.bias",
}
OPENAI_MEAN, OPENAI_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
TAGS = {"image": ["<Img>", "</Img>"], "pcl": ["<Pcl>", "</Pcl>"]}


def octavius_weights(base, delta):
    """The base's tensors under the delta's: embeddings and output rows are trained."""
    out = {name: w for name, w in base.items() if "inv_freq" not in name}
    out.update({name[len(DELTA):]: w for name, w in delta.items() if name.startswith(DELTA) and "lora_moe" not in name})
    return out


def lora_tensors(delta, heads, kv_heads):
    """A [E, in, r] -> [E, r, in] and B [E, r, out] -> [E, out, r]: rows are what a vector is multiplied with."""
    out = {}
    for name, w in delta.items():
        m = re.fullmatch(re.escape(DELTA) + r"model\.layers\.(\d+)\.(.+)\.lora_moe_([AB])\.default", name)
        if not m:
            continue
        part, w = BLOCK[m[2]], w.swapaxes(1, 2)
        if m[3] == "B" and part in ("attn_q", "attn_k"):
            w = np.stack([permute(of, heads if part == "attn_q" else kv_heads) for of in w])
        out[f"blk.{m[1]}.{part}.lora_{m[3].lower()}"] = w
    out["gate.weight"] = delta["gating_network.w_gating"].T
    return out


def octavius_keys(w, tags, names, top_k):
    """What OCTAVIUS's own code fixes; `names` finds the ids of the stop rules' pieces."""
    w.add_uint32("octavius.lora.expert_used_count", top_k)
    w.add_float32("octavius.sampling.temp", 1.0)
    w.add_uint32("octavius.sampling.top_k", 50)
    w.add_float32("octavius.sampling.top_p", 0.9)
    w.add_uint32("octavius.max_tokens", 400)
    w.add_array("octavius.tokenizer.tags", [names[text] for text in tags])
    stops = [["##", "#"], ["\u2581###"], ["<s>", "</s>"]]
    w.add_array("octavius.stop_suffixes", [" ".join(str(names[text]) for text in stop) for stop in stops])


def openai_tower(w, path):
    """All blocks run, the class row goes, nothing normalises the last one; the picture is squashed in its own colour mode."""
    file = torch.jit.load(str(path), map_location="cpu").state_dict()
    weights = {name: t.to(torch.float32).numpy() for name, t in file.items() if name.startswith("visual.")}
    conv = weights["visual.conv1.weight"]
    rows = weights["visual.positional_embedding"].shape[0]
    layers = len({name.split(".")[3] for name in weights if ".resblocks." in name})
    w.add_uint32("octavius.v.image_size", conv.shape[2] * round((rows - 1) ** 0.5))
    w.add_uint32("octavius.v.patch_size", conv.shape[2])
    w.add_uint32("octavius.v.embedding_length", conv.shape[0])
    w.add_uint32("octavius.v.feed_forward_length", weights["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0])
    w.add_uint32("octavius.v.block_count", layers)
    w.add_uint32("octavius.v.head_count", conv.shape[0] // 64)
    w.add_float32("octavius.v.layer_norm_epsilon", 1e-5)
    w.add_array("octavius.v.image_mean", OPENAI_MEAN)
    w.add_array("octavius.v.image_std", OPENAI_STD)
    w.add_string("octavius.v.activation", "gelu_quick")
    w.add_string("octavius.v.resize", "squash")
    w.add_string("octavius.v.convert", "after")
    w.add_string("octavius.v.feature", "patch")
    for name, t in weights.items():
        m = re.fullmatch(r"visual\.transformer\.resblocks\.(\d+)\.(.+?)\.?(weight|bias)", name)
        if name in OPENAI_ENDS:
            w.add_tensor(OPENAI_ENDS[name], t)
        elif m:
            w.add_tensor(f"v.blk.{m[1]}.{OPENAI[m[2]]}.{m[3]}", t)


def octavius(a, case):
    convert = case["convert"]
    base = a.case / convert[convert.index("--base") + 1]
    config = read_json(base / "config.json")
    delta = {name: t.to(torch.float32).numpy() for name, t in torch.load(a.case / convert[0], map_location="cpu").items()}
    tensors = language_tensors(octavius_weights(read_weights(base), delta), "llama", config)
    n_rows = tensors["token_embd.weight"].shape[0]
    tags = ["<XSFQ/>"] + sum((TAGS[m] for m in case["modality"]), [])
    heads = config["num_attention_heads"]
    tensors.update(lora_tensors(delta, heads, config.get("num_key_value_heads") or heads))
    w = gguf.GGUFWriter(a.out, "llama")
    w.add_name(Path(convert[0]).stem)
    language_keys(w, "llama", config, [])
    names = tokenizer(w, base, "llama", n_rows, {n_rows - len(tags) + i: (text, CONTROL) for i, text in enumerate(tags)})
    w.add_string("octavius.prompt_style", "bare")
    octavius_keys(w, tags, names, case["top_k"])
    for name, t in tensors.items():
        half = a.f16 and t.ndim > 1 and name != "gate.weight"
        w.add_tensor(name, np.ascontiguousarray(t, dtype=np.float16 if half else np.float32))
    if not a.text:
        openai_tower(w, a.case / convert[convert.index("--vision") + 1])
        w.add_tensor("mm.0.weight", delta["llama_proj.weight"])
        w.add_tensor("mm.0.bias", delta["llama_proj.bias"])
    return w


# --- all of it ------------------------------------------------------------------------------------------

def moe_llava(a, case):
    convert = case["convert"]
    folder = a.case / convert[0]
    config = read_json(folder / "config.json")
    if a.variant:
        change(config, next(v for v in case["variants"] if v["folder"] == a.variant)["config_changes"])
    arch, style = ARCHITECTURES[config["model_type"]]
    weights = read_weights(folder)
    tensors = language_tensors(weights, arch, config)
    w = gguf.GGUFWriter(a.out, arch)
    w.add_name(folder.name)
    language_keys(w, arch, config, [t.shape[0] for name, t in tensors.items() if name.endswith("ffn_gate_inp.weight")])
    tokenizer(w, folder, arch, tensors["token_embd.weight"].shape[0])
    w.add_string("octavius.prompt_style", style)
    for name, t in tensors.items():
        w.add_tensor(name, np.ascontiguousarray(t))
    if not a.text:
        tower(w, a.case / convert[convert.index("--vision") + 1], config)
        projector(w, weights)
    return w


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("case", type=Path)
    p.add_argument("out")
    p.add_argument("--variant", help="folder name of a variant in case.json")
    p.add_argument("--text", action="store_true", help="the language model alone")
    p.add_argument("--f16", action="store_true", help="OCTAVIUS: matrices as F16")
    a = p.parse_args()
    case = json.loads((a.case / "case.json").read_text())
    w = octavius(a, case) if case.get("family") == "octavius" else moe_llava(a, case)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    main()
