#!/usr/bin/env python3
"""Writes tests/golden/octavius.gguf, .bin and .txt: a golden case of OCTAVIUS on images, without its tower.

    make_octavius.py CASE MODEL.gguf TOKENIZER.model OUT

CASE is golden/octavius-2d of the test data, MODEL.gguf what golden_gguf.py made of it, OUT the folder tests/golden.
Its weights are F16 values, so F16 loses nothing.  octavius.bin holds the rows of its picture [n, n_embd] as float32.
octavius.txt has one line a case, fields between tabs, with \\n, \\t, \\r and \\\\ for what they stand for:
    T text ids                         the official tokenizer on text with tags
    D ids text                         its decoder
    G ids gate                         the gate of a suffix
    R style system question ids gate greedy      a whole run of the official model ("-": no system text of its own)
    E question ids greedy answer       an answer that a stop suffix ended
    C style system text... = ids       a dialogue of questions and answers with one picture of one row: the pieces of the
                                       official layouts, each encoded by sentencepiece, to which a typed tag is text
"""
import json
import sys
from pathlib import Path

import gguf
import numpy as np
import sentencepiece

case, model, tokenizer, out = map(Path, sys.argv[1:5])
info = json.loads((case / "case.json").read_text())
texts = json.loads((case / "out" / "tok_cases.json").read_text())
sp = sentencepiece.SentencePieceProcessor(str(tokenizer))
BOS, IMG, END = info["bos"], info["special_ids"]["<Img>"], info["special_ids"]["</Img>"]
SIMPLE = info["inputs"][1]["system"]


def copy_model():
    r = gguf.GGUFReader(model)
    w = gguf.GGUFWriter(out / "octavius.gguf", "llama")
    for key, field in r.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture" or key.startswith("octavius.v."):
            continue
        kind = field.types[0]
        if kind == gguf.GGUFValueType.ARRAY:
            w.add_key_value(key, field.contents(), kind, sub_type=field.types[1])
        else:
            w.add_key_value(key, field.contents(), kind)
    for t in r.tensors:
        if t.name.startswith(("v.", "mm.")):
            continue
        data = np.array(t.data)
        if data.ndim > 1 and t.name != "gate.weight":
            half = data.astype(np.float16)
            assert (half.astype(np.float32) == data).all(), t.name
            data = half
        w.add_tensor(t.name, data)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def field(x):
    if isinstance(x, (list, tuple)):
        x = " ".join(repr(v) for v in x)
    return str(x).replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def dialogue(style, system, said):
    """said: question, answer, question, ..."""
    past, question = list(zip(said[0:-1:2], said[1::2])), said[-1]
    start = [BOS] + sp.encode("### Human:") + [IMG, -1, END]
    if style == "bare":        # openlamm.py build_one_instance: each part by itself; a system text as ChEF joins one to a question
        lead, ids = (system + "\n\n").lstrip() if system else "", list(start)
        for q, a in past:
            first = len(ids) == len(start)
            ids = ids + sp.encode((lead + q).lstrip() + "\n### Assistant:" if first else f"Human: {q}\n### Assistant:")
            ids += sp.encode(a + "\n###")
        return ids + sp.encode((lead + question + "\n### Assistant:").lstrip() if not past else f"Human: {question}\n### Assistant:")
    system = SIMPLE if system is None else system
    if style == "chef":        # ChEF/models/test_octavius.py generate_conversation_text
        text = system + "\n\n" + "".join(f"Human: {q}\n### Assistant: {a}\n###" for q, a in past) + f"Human: {question}\n###"
    else:                      # inference_3d.py generate_conversation_text
        text = system + "".join(f"### Human: {q}\n### Assistant: {a}\n" for q, a in past) + f"### Human: {question}\n"
    return start + sp.encode((text + "\n### Assistant:").lstrip())


def lines():
    for t in texts["encode_no_special"] + info["tokens"]:
        yield "T", t["text"], t["ids"]
    for t in texts["batch_decode_skip_special_tokens"]:
        yield "D", t["ids"], t["text"]
    for g in info["gates"]:
        yield "G", g["ids"], g["gate"]
    for e in info["inputs"]:
        yield "R", e["style"], e.get("system", "-"), e["question"], e["ids"], e["gate"], e["greedy"]
    e = info["early_stop"]
    yield "E", e["question"], e["ids"], e["greedy"], e["answer"]
    talk = ["What is it?", "A boat.", "And on the left?", " two\nlines ", "  Why ### so?\n", "", "\u2581x </Img> <s>y"]
    for style in ("bare", "chef", "legacy"):
        for system in (None, "", "\nYou are brief.\n"):
            for n in (1, 3, 5, 7):
                yield "C", style, "-" if system is None else system, *talk[:n], "=", dialogue(style, system, talk[:n])


copy_model()
rows = np.load(case / "out" / "bare" / "mm.out.npy").astype("<f4")
rows.tofile(out / "octavius.bin")
(out / "octavius.txt").write_text("".join("\t".join(field(x) for x in line) + "\n" for line in lines()))
