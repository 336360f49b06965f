#!/usr/bin/env python3
"""Writes the Unicode tables of octavius.h, in place between their markers.

    python3 tools/unicode_tables.py [octavius.h]      rewrite the tables
    python3 tools/unicode_tables.py --check [FILE]    exit 1 if they would change

The numbers come from the module `unicodedata2` where it is installed, else from Python's own `unicodedata`; the version
that was read stands in the block.  Unicode 16 (`pip install unicodedata2==16.0.0`) is what the official tokenizers
(tokenizers 0.23, tiktoken 0.14) carry: with newer tables, letters that they do not know would be cut differently.
"""
import sys

try:
    import unicodedata2 as ucd
except ImportError:
    import unicodedata as ucd

BEGIN = "/* --- Unicode tables: written by tools/unicode_tables.py, do not edit --- */"
END = "/* --- end of the written tables --- */"

# The property White_Space, which unicodedata does not tell; it has not changed since Unicode 6.3.
WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
LETTER, NUMBER, SPACE, PUNCT = 1, 2, 3, 4
HANGUL = range(0xAC00, 0xAC00 + 11172)
COMPAT = [(0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]         # the two blocks of compatibility ideographs: one to one


def char_class(cp):
    category = ucd.category(chr(cp))
    if cp in WHITE_SPACE:
        return SPACE
    return {"L": LETTER, "N": NUMBER, "P": PUNCT}.get(category[0], 0)


def ranges():
    """(first code point << 11 | combining class << 3 | class) wherever one of the two changes."""
    out, last = [], None
    for cp in range(0x110000):
        surrogate = 0xD800 <= cp < 0xE000
        now = (0, 0) if surrogate else (ucd.combining(chr(cp)), char_class(cp))
        if now != last:
            out.append(cp << 11 | now[0] << 3 | now[1])
            last = now
    return out


def decompositions():
    """Canonical ones, one step each: {cp: (a, b)}, b = 0 for a single character.  Hangul is done by arithmetic."""
    out = {}
    for cp in range(0x110000):
        if 0xD800 <= cp < 0xE000 or cp in HANGUL:
            continue
        text = ucd.decomposition(chr(cp))
        if text and not text.startswith("<"):
            parts = [int(p, 16) for p in text.split()]
            out[cp] = (parts[0], parts[1] if len(parts) > 1 else 0)
    for a, b in out.values():
        assert b not in out or b == 0, "a second part that decomposes further: oct__nfc_push does not expect it"
    return out


def composes(cp, a, b):
    """Whether a, b become cp: not for singletons and the composition exclusions."""
    return b != 0 and ucd.normalize("NFC", chr(a) + chr(b)) == chr(cp)


def array(ctype, name, note, values, form, per_line):
    lines = ["static const %s %s[%d] = {%s" % (ctype, name, len(values), "      /* %s */" % note if note else "")]
    for i in range(0, len(values), per_line):
        lines.append("    " + " ".join(form % v + "," for v in values[i:i + per_line]))
    return lines + ["};"]


def block():
    steps = decompositions()
    lines = [BEGIN, "/* Unicode %s */" % ucd.unidata_version]
    lines += array("uint32_t", "oct__uc_ranges", "first code point << 11 | combining class << 3 | class", ranges(), "0x%08X", 10)
    compat = {}
    for k, (first, last) in enumerate(COMPAT):
        targets = [steps[cp][0] if cp in steps and steps[cp][1] == 0 else 0 for cp in range(first, last + 1)]
        compat.update({cp: 1 for cp in range(first, last + 1) if cp in steps and steps[cp][1] == 0})
        lines += array("uint32_t", "oct__uc_compat_%X" % first, "what U+%X and on decompose to, 0: itself" % first, targets, "0x%05X", 13)
    pairs = sorted((a, b, cp) for cp, (a, b) in steps.items() if cp not in compat)
    values = [(0 if composes(cp, a, b) else 1 << 63) | a << 42 | b << 21 | cp for a, b, cp in pairs]
    lines += array("uint64_t", "oct__uc_pairs", "decomposes only << 63 | a << 42 | b << 21 | what a, b compose to; by a, b", values, "0x%016Xu", 6)
    order = sorted(range(len(pairs)), key=lambda i: pairs[i][2])
    lines += array("uint16_t", "oct__uc_by_whole", "oct__uc_pairs in the order of the composed character", order, "%d", 20)
    return "\n".join(lines + [END])


def main():
    args = [a for a in sys.argv[1:] if a != "--check"]
    path = args[0] if args else "octavius.h"
    text = open(path, encoding="utf-8").read()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit("unicode_tables.py: %s: expected one pair of markers" % path)
    new = text[:text.index(BEGIN)] + block() + text[text.index(END) + len(END):]
    if "--check" in sys.argv:
        sys.exit("unicode_tables.py: %s: tables differ from Unicode %s" % (path, ucd.unidata_version) if new != text else 0)
    open(path, "w", encoding="utf-8").write(new)


if __name__ == "__main__":
    main()
