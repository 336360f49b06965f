#!/usr/bin/env python3
"""Holds octavius-inspect against llama.cpp (through llama-cpp-python) on a real model.

    teacher_forced.py MODEL.gguf --inspect build/octavius-inspect [--identical] [--tokens-only | --texts-only] [--kv f16] [-- FLAGS]

1. Token ids of awkward and random strings: all must be equal.
2. llama.cpp continues 20 prompts greedily by 64 tokens; octavius-inspect gets each whole text and must want the same next
   token at 97 % of the places, and elsewhere its two best logits must lie within 2 % of the range of its logits.
3. --identical: it must want the same token at every place, in (2) and along one text of 200 tokens.  Since its logits do
   not depend on how a text is cut, its own greedy text is then the same.
--kv f32 (default) or f16: keys and values of both sides.  With f16 a near tie may fall either way.

Prints a table; exit code 1 if anything fails.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np

PROMPTS = [
    "Once upon a time", "The capital of France is", "One day, a little girl named Lily", "Water boils at",
    "def fibonacci(n):\n", "The three primary colours are", "In the year 1969,", "Tom and his dog went to the park",
    "To bake a loaf of bread, you", "The sun was shining and", "Dear Sir or Madam,\n\n", "The quick brown fox",
    "1, 2, 3, 4,", "Photosynthesis is the process", "She opened the old wooden box and", "The best way to learn a language",
    "<|im_start|>user\nName three fruits.<|im_end|>\n<|im_start|>assistant\n", "There was a big red ball",
    "Mathematics is", "\"Where are you going?\" asked the bear."]

STRINGS = [
    "", " ", "  ", "   ", "\n", "\n\n", "\t", " \n \n ", "a", " a", "a ", "Hello, world!", "Hello  world", "  Hello", "Hello\n\nworld\n",
    "I'll don't can't we've I'M YOU'RE it's 's 'S ''s", "3.14159 1234567890 12 345 0x1F 1e-9", "x2 y10z 2nd 3rd", "naïve café Ångström",
    "cafe\u0301 A\u030angstro\u0308m", "Привет, мир! Ещё 42.", "你好,世界 今天天气很好", "こんにちは世界。テスト", "안녕하세요 세계", "שלום עולם مرحبا بالعالم",
    "٣٤٥ ①②③ ½ Ⅷ", "😀 👨‍👩‍👧 🇫🇷 🏳️‍🌈", "a\u00a0b\u2003c\u3000d\u0085e", "tab\tseparated\t\tvalues\t", "trailing spaces   ",
    "for (int i = 0; i < n; i++) {\n    x[i] += y[i];\n}\n", "https://example.com/a?b=c&d=%20e#f", "<|im_start|>user\nhi<|im_end|>", "<s> </s> <unk>",
    "snake_case camelCase SCREAMING_CASE kebab-case", "!!! ... --- ((x)) [y] {z} @you #1 $5 50% a&b", "“quotes” ‘single’ — dash – … «»",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ℵ₀ ∑∫√ x²", "\u200bzero\u200bwidth\ufeff", "e\u0301\u0301\u0301 \u0301", "a" * 300, " " * 300, "ab" * 200, "\n" * 50, "9" * 100, "é" * 100]
ALPHABET = " \n\t'.,;:!?-_/\\()[]{}<>|abcdefghijklmnopqrstuvwxyzABCXYZ0123456789éßñçøŁžБвгдЖя你好世界日本語한글مرحبا😀🎉\u00a0\u0301²½"


def strings(n_random):
    rng = random.Random(7)
    words = "the of and to in is that it was for on are with as his they at be this have from or had by".split()
    out = list(STRINGS)
    for i in range(n_random):
        if i % 3 == 0:
            out.append("".join(rng.choice(ALPHABET) for _ in range(rng.randrange(1, 60))))
        elif i % 3 == 1:
            out.append("".join(rng.choice(["", " ", "  ", "\n", "'s ", ", "]) + rng.choice(words) for _ in range(rng.randrange(1, 20))))
        else:                                                       # any character there is, surrogates aside
            out.append("".join(chr(rng.choice([rng.randrange(1, 0x250), rng.randrange(0x250, 0xD800), rng.randrange(0xE000, 0x20000)]))
                               for _ in range(rng.randrange(1, 12))))
    return out


def open_llama(args):
    """llama.cpp without its repacked weights: some virtual machines announce AMX and then lack it."""
    inner = llama_cpp.llama_cpp                                     # the module that class Llama looks into
    defaults = inner.llama_model_default_params

    def plain():
        params = defaults()
        params.use_extra_bufts = False
        return params
    inner.llama_model_default_params = plain
    kv = {"f32": llama_cpp.GGML_TYPE_F32, "f16": llama_cpp.GGML_TYPE_F16}[args.kv]
    return llama_cpp.Llama(args.model, n_ctx=512, logits_all=True, verbose=False, n_threads=args.threads,
                           n_threads_batch=args.threads, type_k=kv, type_v=kv)


def run(command, **more):
    done = subprocess.run(command, capture_output=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command[:3]))}: exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def compare_tokens(llama, args):
    bad = 0
    for text in strings(args.strings):
        raw = text.encode()
        for special in False, True:
            theirs = llama.tokenize(raw, add_bos=False, special=special) if raw else []
            ours = [int(x) for x in run([args.inspect, "tokens", args.model] + ["--special"] * special, input=raw).split()]
            if ours != theirs:
                bad += 1
                if bad <= 10:
                    print(f"  {text[:60]!r} special={special}\n    ours   {ours[:40]}\n    theirs {theirs[:40]}")
    print(f"token ids: {2 * len(strings(args.strings))} strings, {bad} differ")
    return bad == 0


def their_greedy(llama, prompt, n):
    ids = llama.tokenize(prompt.encode(), special=True)
    llama.reset()
    llama.eval(ids)
    for _ in range(n):
        token = int(np.argmax(llama.scores[llama.n_tokens - 1]))
        ids.append(token)
        llama.eval([token])
    return ids, len(ids) - n


def our_logits(args, ids, folder):
    path = os.path.join(folder, "logits.npy")
    run([args.inspect, "logits", args.model, "--ids", ",".join(map(str, ids)), "--kv", args.kv, "-o", path]
        + args.flags)
    return np.load(path)


def compare_text(llama, args, prompt, n, folder):
    """(places, places where we want another token, largest gap of our two best there, in parts of the range, same text's distance)"""
    ids, first = their_greedy(llama, prompt, n)
    logits = our_logits(args, ids, folder)
    theirs = np.array(llama.scores[:len(ids)], dtype=np.float64)
    places = range(first - 1, len(ids) - 1)
    gaps = []
    for p in places:
        if int(np.argmax(logits[p])) != ids[p + 1]:
            best, second = np.sort(logits[p])[:-3:-1]
            gaps.append(float((best - second) / np.ptp(logits[p])))
    cosine = min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(logits.astype(np.float64), theirs))
    return len(places), len(gaps), max(gaps, default=0.0), cosine


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("--inspect", required=True, help="path of octavius-inspect")
    p.add_argument("--identical", action="store_true")
    p.add_argument("--tokens-only", action="store_true")
    p.add_argument("--texts-only", action="store_true")
    p.add_argument("--strings", type=int, default=300, help="random strings besides the fixed ones")
    p.add_argument("--kv", choices=["f32", "f16"], default="f32")
    p.add_argument("--length", type=int, default=64)
    p.add_argument("--threads", type=int, default=2)
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    args = p.parse_args(words[:cut])
    args.flags = words[cut + 1:]                                        # for octavius-inspect logits
    llama = open_llama(args)
    ok = args.texts_only or compare_tokens(llama, args)
    if not args.tokens_only:
        print(f"\nllama-cpp-python {llama_cpp.__version__}; {os.path.basename(args.model)}, KV {args.kv} {' '.join(args.flags)}")
        print("| prompt | places | other token | largest gap there | smallest cosine |\n|---|---|---|---|---|")
        places = other = 0
        gap = 0.0
        with tempfile.TemporaryDirectory() as folder:
            jobs = [(prompt, args.length) for prompt in PROMPTS] + ([(PROMPTS[0], 200)] if args.identical else [])
            for prompt, n in jobs:
                a, b, g, cosine = compare_text(llama, args, prompt, n, folder)
                print(f"| {prompt[:30]!r} | {a} | {b} | {100 * g:.2f} % | {cosine:.6f} |", flush=True)
                places, other, gap = places + a, other + b, max(gap, g)
        share = 1 - other / places
        passed = share >= 0.97 and gap <= 0.02 and (not args.identical or other == 0)
        print(f"same token at {places - other} of {places} places ({100 * share:.2f} %), largest gap elsewhere {100 * gap:.2f} %: "
              f"{'ok' if passed else 'FAILED'}")
        ok = ok and passed
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
