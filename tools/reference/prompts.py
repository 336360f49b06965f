#!/usr/bin/env python3
"""Conversations and awkward texts of a case of the golden test data, small enough to be committed.

    prompts.py CASE MODEL.gguf OUT

CASE/in/prompts.json holds ids that the official tokenizers gave; MODEL.gguf is the case as GGUF (golden_gguf.py).  Writes
OUT.gguf, its metadata without tensors, and OUT.txt, one line each, fields with tabs between them:
  P  turns of a conversation (user, answer, user, ...), the field "=", ids of the whole prompt with -1 for a picture
  T  a text, "=", its ids
Line breaks, tabs and backslashes within a field are written \\n, \\r, \\t and \\\\.  Needs gguf.
"""
import json
import sys
from pathlib import Path

import gguf


def field(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def main(case, model, out):
    reader = gguf.GGUFReader(model)
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(out + ".gguf", arch)
    for name, f in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        sub = f.types[1] if f.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, f.contents(), f.types[0], sub_type=sub)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    data = json.loads(Path(case, "in/prompts.json").read_text())
    lines = [["P", *map(field, p["turns"]), "=", *map(str, p["ids"])] for p in data["prompts"]]
    lines += [["T", field(t["text"]), "=", *map(str, t["ids"])] for t in data["texts"]]
    Path(out + ".txt").write_text("".join("\t".join(line) + "\n" for line in lines))


main(*sys.argv[1:])
