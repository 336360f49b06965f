"""The text decoder of octavius.h, written once more from the formulas: slow, float64, easy to read.

    model  = Model("file.gguf")               # any weight type that the gguf package can dequantise
    stages = model.run([1, 15, 7])            # {"embd": [3, E], "blk.0.attn_norm": ..., "logits": [3, V]}

Architectures: llama, phi2, stablelm, qwen, qwen2.  The stage names are those of `octavius-inspect stages`:
q, k and v are taken with their bias, before per-head norm and rotary, in the row order of the file;
attn_out and ffn_out before they are added to the residual stream.

A layer with ffn_gate_inp has experts in place of its feed-forward.  The gate is DeepSpeed's (0.9.5, without the noise on
the second choice); with capacity=True experts take no more tokens than the file says, first choices before second.

Linears with NAME.lora_a, NAME.lora_b have LoRA experts (OCTAVIUS), which a gate weighs once for all tokens.

Letters: T tokens, E width, H query heads, G key/value heads, D head size, F feed-forward width, V vocabulary, N experts.
"""
import math

import gguf
import numpy as np

NEOX = {"phi2", "stablelm", "qwen", "qwen2"}           # rotary pairs (i, i + R/2); llama: (2i, 2i + 1)
LAYER_NORM = {"phi2", "stablelm"}                      # the others: RMS norm


class Model:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.meta = {name: field.contents() for name, field in reader.fields.items()}
        self.tensor = {t.name: dequantise(t) for t in reader.tensors}
        self.arch = self.meta["general.architecture"]
        self.n_layer = self.key("block_count")
        self.n_embd = self.key("embedding_length")
        self.n_head = self.key("attention.head_count")
        self.n_kv = self.key("attention.head_count_kv", self.n_head)
        self.d_head = self.key("attention.key_length", self.n_embd // self.n_head)
        self.eps = self.key("attention.layer_norm_epsilon" if self.arch in LAYER_NORM
                            else "attention.layer_norm_rms_epsilon")
        self.n_rot = self.key("rope.dimension_count", self.d_head)

    def key(self, suffix, default=None):
        value = self.meta.get(f"{self.arch}.{suffix}", default)
        if value is None:
            raise KeyError(f"{self.arch}.{suffix}")
        return value

    # --- pieces -----------------------------------------------------------------------------------------

    def linear(self, x, name):
        """x [T, in] -> [T, out]: the file's rows are the outputs."""
        y = plus_bias(x @ self.tensor[name + ".weight"].T, self.tensor.get(name + ".bias"))
        for g, a, b in zip(self.gate, self.tensor.get(name + ".lora_a", ()), self.tensor.get(name + ".lora_b", ())):
            y = y + g * (x @ a.T @ b.T)                            # no alpha / rank in OCTAVIUS's forward
        return y

    def instance_gate(self, ids):
        """The gate of a text: the mean of its embeddings' logits, softmax, the best k scaled to a sum of one."""
        if "gate.weight" not in self.tensor:
            return []
        p = softmax((self.tensor["token_embd.weight"][np.asarray(ids)] @ self.tensor["gate.weight"].T).mean(0))
        best = np.argsort(-p, kind="stable")[:self.meta.get("octavius.lora.expert_used_count", 2)]
        out = np.zeros_like(p)
        out[best] = p[best] / (p[best].sum() + 1e-9)
        return out

    def norm(self, x, name):
        weight, bias = self.tensor[name + ".weight"], self.tensor.get(name + ".bias")
        return (layer_norm if self.arch in LAYER_NORM else rms_norm)(x, weight, bias, self.eps)

    def qkv(self, x, b):
        """x [T, E] -> q [T, H*D], k [T, G*D], v [T, G*D]."""
        if b + "attn_qkv.weight" not in self.tensor:
            return tuple(self.linear(x, b + "attn_" + part) for part in "qkv")
        q, kv = self.n_head * self.d_head, self.n_kv * self.d_head
        return np.split(self.linear(x, b + "attn_qkv"), [q, q + kv], axis=1)

    def angles(self, positions):
        """Rotary angles [T, R/2] and the factor of cos and sin."""
        i = np.arange(self.n_rot // 2, dtype=np.float64)
        base = float(self.key("rope.freq_base", 10000.0))
        freq = base ** (-2.0 * i / self.n_rot)
        if "rope_freqs.weight" in self.tensor:
            freq = freq / self.tensor["rope_freqs.weight"]
        kind = self.key("rope.scaling.type", "linear")
        factor = float(self.key("rope.scaling.factor", self.key("rope.scale_linear", 0.0))) or 1.0
        magnitude = float(self.key("rope.scaling.attn_factor", 1.0))
        if kind == "linear":
            freq = freq / factor
        elif kind == "yarn":
            # "YaRN" (arXiv 2309.00071), 3.2 and 3.4: what turns often is left alone, what turns less than once within
            # the old context is stretched, a ramp over the index of the pair between them.
            old = float(self.key("rope.scaling.original_context_length", self.key("context_length")))

            def index_of(turns):
                return self.n_rot * math.log(old / (turns * 2 * math.pi)) / (2 * math.log(base))
            low = max(0, math.floor(index_of(float(self.key("rope.scaling.yarn_beta_fast", 32.0)))))
            high = min(self.n_rot - 1, math.ceil(index_of(float(self.key("rope.scaling.yarn_beta_slow", 1.0)))))
            stretched = np.clip((i - low) / max(0.001, high - low), 0, 1)
            freq = freq / factor * stretched + freq * (1 - stretched)
            magnitude *= 1 + 0.1 * math.log(factor)
        elif kind != "none":
            raise ValueError(f"rope scaling '{kind}'")
        return np.asarray(positions, dtype=np.float64)[:, None] * freq, magnitude

    def rotate(self, x, positions):
        """x [T, heads, D]: the first R values of every head are turned in pairs."""
        angle, magnitude = self.angles(positions)
        cos, sin = np.cos(angle)[:, None] * magnitude, np.sin(angle)[:, None] * magnitude      # [T, 1, R/2]
        half, out = self.n_rot // 2, x.copy()
        if self.arch in NEOX:
            first, second = slice(0, half), slice(half, self.n_rot)
        else:
            first, second = slice(0, self.n_rot, 2), slice(1, self.n_rot, 2)
        a, b = x[..., first], x[..., second]
        out[..., first] = a * cos - b * sin
        out[..., second] = a * sin + b * cos
        return out

    def attention(self, q, k, v, b, positions):
        """q [T, H*D], k, v [T, G*D] -> [T, E]."""
        n_tok = len(q)
        q = self.head_norm(q.reshape(n_tok, self.n_head, self.d_head), b + "attn_q_norm")
        k = self.head_norm(k.reshape(n_tok, self.n_kv, self.d_head), b + "attn_k_norm")
        v = v.reshape(n_tok, self.n_kv, self.d_head)
        q, k = self.rotate(q, positions), self.rotate(k, positions)
        out = np.empty_like(q)
        future = np.triu(np.ones((n_tok, n_tok), dtype=bool), 1)
        for h in range(self.n_head):
            g = h // (self.n_head // self.n_kv)
            score = q[:, h] @ k[:, g].T / math.sqrt(self.d_head)
            out[:, h] = softmax(np.where(future, -np.inf, score)) @ v[:, g]
        return self.linear(out.reshape(n_tok, -1), b + "attn_output")

    def head_norm(self, x, name):
        """StableLM-2-12B: every head has its own layer norm, without bias."""
        weight = self.tensor.get(name + ".weight")
        return x if weight is None else layer_norm(x, weight, None, self.eps)

    def ffn(self, x, b):
        if self.arch == "phi2":
            return self.linear(gelu_tanh(self.linear(x, b + "ffn_up")), b + "ffn_down")
        return self.linear(silu(self.linear(x, b + "ffn_gate")) * self.linear(x, b + "ffn_up"), b + "ffn_down")

    def expert_linear(self, x, name, e):
        if f"{name}.{e}.weight" in self.tensor:                    # llama.cpp's names before 2024
            return x @ self.tensor[f"{name}.{e}.weight"].T
        bias = self.tensor.get(name + "_exps.bias")
        return plus_bias(x @ self.tensor[name + "_exps.weight"][e].T, None if bias is None else bias[e])

    def expert(self, x, b, e):
        up = self.expert_linear(x, b + "ffn_up", e)
        inner = gelu_tanh(up) if self.arch == "phi2" else silu(self.expert_linear(x, b + "ffn_gate", e)) * up
        return self.expert_linear(inner, b + "ffn_down", e)

    def moe(self, x, b, s):
        """x [T, E] -> [T, E]: every expert sees every token, the gate's weights [T, N] are 0 where it was not chosen."""
        s[b + "router"] = logits = x @ self.tensor[b + "ffn_gate_inp.weight"].T
        plain = self.arch == "llama" and not any(name.startswith("octavius.moe.") for name in self.meta)
        slots = self.slots(*logits.shape) if self.capacity else len(x)
        weights = gate(logits, self.key("expert_used_count"), slots, plain)
        return sum(weights[:, e:e + 1] * self.expert(x, b, e) for e in range(logits.shape[1]))

    def slots(self, n_tok, n_expert):
        """Tokens an expert may take; DeepSpeed computes this in float32."""
        k, f32 = self.key("expert_used_count"), np.float32
        factor = f32(self.meta["octavius.moe.capacity_factor"] * (2 if k == 2 else 1))
        return max(int(np.ceil(f32(n_tok / n_expert) * factor)), self.meta["octavius.moe.min_capacity"])

    # --- the whole ----------------------------------------------------------------------------------------

    def run(self, ids, embd=None, capacity=False, gate=None):
        """Every stage of one pass over ids [T], which stand at positions 0 .. T - 1; embd [T, E]: over these rows instead.
        gate: of the LoRA experts, else that of all ids."""
        self.capacity = capacity
        self.gate = self.instance_gate(ids) if gate is None else gate
        s = {}
        s["embd"] = x = self.tensor["token_embd.weight"][np.asarray(ids)] if embd is None else np.asarray(embd, dtype=np.float64)
        positions = range(len(x))
        for n in range(self.n_layer):
            b = f"blk.{n}."
            s[b + "attn_norm"] = h = self.norm(x, b + "attn_norm")
            s[b + "q"], s[b + "k"], s[b + "v"] = q, k, v = self.qkv(h, b)
            s[b + "attn_out"] = attn = self.attention(q, k, v, b, positions)
            x = x + attn
            # Without a norm of its own the feed-forward stands beside the attention and reads what that read.
            h = self.norm(x, b + "ffn_norm") if b + "ffn_norm.weight" in self.tensor else h
            s[b + "ffn_out"] = ffn = self.moe(h, b, s) if b + "ffn_gate_inp.weight" in self.tensor else self.ffn(h, b)
            s[b + "out"] = x = x + ffn
        s["output_norm"] = h = self.norm(x, "output_norm")
        head = "output" if "output.weight" in self.tensor else "token_embd"                # tied
        s["logits"] = plus_bias(h @ self.tensor[head + ".weight"].T, self.tensor.get("output.bias"))
        return s


def gate(logits, k, slots, plain=False):
    """logits [T, N] -> combine weights [T, N].  One choice weighs its probability, several are scaled to a sum of one; plain:
    llama.cpp's rule, which scales one choice too.  An expert takes its first `slots` tokens, first choices before second."""
    p = softmax(logits)
    order = np.argsort(-p, axis=1, kind="stable")[:, :k]           # ties: the lowest index
    taken, out = np.zeros(p.shape[1], dtype=int), np.zeros_like(p)
    for rank in range(k):
        for t, e in enumerate(order[:, rank]):
            if taken[e] < slots:
                out[t, e] = p[t, e]
            taken[e] += 1
    if k == 1 and not plain:
        return out
    return out / np.maximum(out.sum(1, keepdims=True), np.finfo(np.float32).eps)


def dequantise(t):
    return np.asarray(gguf.quants.dequantize(t.data, t.tensor_type), dtype=np.float64)


def plus_bias(x, bias):
    return x if bias is None else x + bias


def rms_norm(x, weight, bias, eps):
    return plus_bias(x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight, bias)


def layer_norm(x, weight, bias, eps):
    x = x - x.mean(-1, keepdims=True)
    return rms_norm(x, weight, bias, eps)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
