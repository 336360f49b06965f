#!/usr/bin/env python3
"""Writes tests/boxes_answers.h: 100 answers with boxes, good and broken, and what the official evaluator reads in them.

    git clone https://github.com/OpenGVLab/LAMM          (commit ea571363, 2024-03-29)
    python3 tools/reference/make_boxes.py LAMM/src/ChEF/metric > tests/boxes_answers.h

The evaluator is ChEF's: LAMM_Detection.parser in detection.py (the metric of Octavius's detection recipe), asked to swap
corners that are inverted on both axes; and parse_bbox in utils.py (the metric of the other detection recipes), which looks for
no category.  Both are run as they are; what they import and do not need here (torchvision, nltk, tqdm, torch) is replaced by
empty modules.  The answers are ours.  Committed are those and the numbers that come out.

For each answer stands what our reader gives: where nothing is said, exactly the boxes and labels of LAMM_Detection.  Where it
gives something else, `ours` holds it and `why` says why.  `drop` are the reasons of what it reports as dropped.
"""
import importlib
import sys
import types

COUNT, NUMBER, BRACKET, CUT, ORDER, RANGE = range(1, 7)
ANSWERS = []


def a(text, drop=(), ours=None, why=""):
    assert (ours is None) == (why == ""), text
    ANSWERS.append((text, list(drop), ours, why))


# --- the sentences that the model was trained on, in our words ----------------------------------------------------------
a("The [0.12, 0.3, 0.45, 0.98] part of the picture holds an object that can be classified as dog.")
a("What is seen at the [0.0, 0.0, 0.5, 0.5] coordinate is classified as potted plant.")
a("Something at [0.61, 0.07, 0.99, 1.0] can be identified as belonging to the category of aeroplane.")
a("At the [0.2, 0.25, 0.4, 0.75] position there is an object categorized as cat.")
a("At the [0.01, 0.02, 0.03, 0.04] of the image, an item falls under the category of traffic light.")
a("At the coordinates of [0.33, 0.4, 0.5, 0.66] there exists an object categorized as horse.")
a("The [0.0, 0.4, 0.5, 0.66] position features an object that falls under the category of boat.")
a("There is an object at the [0.15, 0.26, 0.37, 0.48] position of the image, and its category is tv monitor.")
a("Looking closely, an object stands at [0.9, 0.9, 1.0, 1.0] that belongs to the bottle category.")
a("At exactly [0.1, 0.1, 0.9, 0.9] one object can be identified as belonging to the sheep category, and it stands out.")
a("Scanning the picture, there is an object at [0.5, 0.5, 0.6, 0.6] that falls under the person category.")
a("One can spot an object at [0.05, 0.1, 0.2, 0.4] that belongs to the dining table category.")
a("At [0.7, 0.2, 0.8, 0.3] is an object that can be classified as belonging to the car category, and this object is alone.")
a("An object at [0.4, 0.1, 0.6, 0.2] falls under the bus category, and this object is red.")
# --- several sentences ----------------------------------------------------------------------------------------------------
a("At the [0.1, 0.2, 0.3, 0.4] position there is an object categorized as cat. "
  "At the [0.5, 0.6, 0.7, 0.8] position there is an object categorized as dog.")
a("An object at [0.1, 0.2, 0.3, 0.4] belongs to the cow category. Another at [0.2, 0.2, 0.4, 0.4] belongs to the cow category. "
  "A third at [0.3, 0.2, 0.5, 0.4] belongs to the bird category.")
a("  \n At [0.1, 0.2, 0.3, 0.4] of the image, an item falls under the category of bicycle. \n")
a("I see two things. At the [0.1, 0.2, 0.3, 0.4] position there is an object categorized as sofa. That is all.")
a("At [0.11, 0.22, 0.33, 0.44], an item falls under the category of chair. It is small. It is brown. "
  "At [0.5, 0.5, 1.0, 1.0], an item falls under the category of table. The end")
a("The [0.1, 0.2, 0.3, 0.4] part holds something classified as train and the rest is sky. "
  "The [0.2, 0.3, 0.4, 0.5] part holds something classified as track within reach.")
a("The thing at [0.1, 0.2, 0.3, 0.4] is classified as motorbike is what I would say.")
a("At [0.2, 0.2, 0.3, 0.3] there is an object categorized as kite can one say.")
a("At [0.2, 0.2, 0.3, 0.3] there is an object categorized as lamp at the wall.")
a("An object at [0.25, 0.5, 0.75, 1.0] belonging to the category of fire hydrant at the kerb.")
a("An object at [0.25, 0.5, 0.75, 1.0] belonging to the very best category of the known category, it seems.")
a("The dog object stands at [0.3, 0.3, 0.4, 0.5].")
a("The big old oak object [0.3, 0.3, 0.4, 0.5]")
a("An object at [0.1, 0.2, 0.3, 0.4] is classified as cat and it falls under the pet category.")
a("The cat object at [0.1, 0.2, 0.3, 0.4] is classified as tiger.")
a("At [0.1, 0.2, 0.3, 0.4], its category is snow board, its colour blue.")
a("At [0.1, 0.2, 0.3, 0.4], its category is caf\u00e9 chair.")
a("An object at [0.1, 0.2, 0.3, 0.4] is classified as hot\ndog.", ours=[(.1, .2, .3, .4, "hot dog")],
  why="a line break in a label becomes a blank")
# --- spacing and spelling of numbers ---------------------------------------------------------------------------------------
a("At [0.1,0.2,0.3,0.4] there is an object categorized as cat.")
a("At [ 0.1, 0.2, 0.3, 0.4 ] there is an object categorized as cat.")
a("At [.1, .25, .3, .4] there is an object categorized as cat.")
a("At [0, 0, 1, 1] there is an object categorized as cat.")
a("At [0.123456789, 0.2, 0.98765432109876543, 1.] there is an object categorized as cat.")
a("At [00.10, 0.20, 0.300, 0.4000] there is an object categorized as cat.")
a("At [0.5, 0.5, 0.5, 0.5] there is an object categorized as dot.")
a("At [0.1,  0.2,  0.3,  0.4] there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")],
  why="any white space between numbers")
a("At [0.1 0.2 0.3 0.4] there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")], why="blanks for commas")
a("At [0.1; 0.2; 0.3; 0.4] there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")], why="semicolons")
a("At [0.1,\n0.2,\n0.3,\n0.4] there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")], why="line breaks")
a("At [x1=0.1, y1=0.2, x2=0.3, y2=0.4] there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")],
  why="names before the numbers")
a("At [x1: 0.1, y1: 0.2, x2: 0.3, y2: 0.4] there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")],
  why="names before the numbers")
a("At [1e-1, 0.2, 3e-1, +0.4] there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")], why="exponents and signs")
# --- inverted corners -----------------------------------------------------------------------------------------------------
a("At [0.3, 0.4, 0.1, 0.2] there is an object categorized as cat.")
a("At [0.3, 0.2, 0.1, 0.4] there is an object categorized as cat.", drop=[ORDER])
a("At [0.1, 0.4, 0.3, 0.2] there is an object categorized as cat.", drop=[ORDER])
a("At [0.3, 0.2, 0.3, 0.1] there is an object categorized as cat.", drop=[ORDER])
a("At [0.9, 0.9, 0.1, 0.1] there is an object categorized as cat. At [0.9, 0.1, 0.1, 0.9] there is an object categorized as dog. "
  "At [0.1, 0.1, 0.9, 0.9] there is an object categorized as cow.", drop=[ORDER])
# --- values outside 0 to 1 ------------------------------------------------------------------------------------------------
a("At [0.5, 0.5, 1.02, 1.1] there is an object categorized as cat.", ours=[(.5, .5, 1, 1, "cat")], why="clamped to the picture")
a("At [-0.02, 0.1, 0.5, 0.5] there is an object categorized as cat.", ours=[(0, .1, .5, .5, "cat")],
  why="a sign is no fault; clamped to the picture")
a("At [12, 34, 56, 78] there is an object categorized as cat.", drop=[RANGE], ours=[],
  why="pixels or per cent, which nobody asked for: reported (the evaluator takes them as fractions, and they never match)")
a("At [120.5, 33, 224, 224] there is an object categorized as cat. At [0.1, 0.2, 0.3, 0.4] there is an object categorized as dog.",
  drop=[RANGE], ours=[(.1, .2, .3, .4, "dog")], why="pixels: reported")
a("At [1.2, 1.2, 1.4, 1.4] there is an object categorized as cat.", drop=[7], ours=[], why="beyond the picture: reported")
# --- wrong count ----------------------------------------------------------------------------------------------------------
a("At [0.1, 0.2, 0.3] there is an object categorized as cat.", drop=[COUNT])
a("At [0.1, 0.2, 0.3, 0.4, 0.5] there is an object categorized as cat.", drop=[COUNT])
a("At [0.1, 0.2, 0.3, 0.4, 0.5, 0.6] there is an object categorized as cat.", drop=[COUNT])
a("At [0.1] there is an object categorized as cat.", drop=[COUNT])
a("At [] there is an object categorized as cat.")
a("At [0.1, , 0.3, 0.4] there is an object categorized as cat.", drop=[COUNT])
a("At [0.1, 0.2] there is an object categorized as cat.", drop=[COUNT])
a("From [0.1, 0.2] to [0.3, 0.4] there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")],
  why="two corners in brackets of their own")
a("From (0.1, 0.2) to (0.3, 0.4) there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")],
  why="two corners in round brackets")
a("At [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8] there are objects classified as sheep.",
  ours=[(.1, .2, .3, .4, "sheep"), (.5, .6, .7, .8, "sheep")], why="eight numbers are two boxes")
# --- no numbers -----------------------------------------------------------------------------------------------------------
a("At [x1, y1, x2, y2] there is an object categorized as cat.", drop=[NUMBER])
a("At [0.1, 0.2, 0.3, dog] there is an object categorized as cat.", drop=[NUMBER])
a("At [0.1, 0.2, 0.3.1, 0.4] there is an object categorized as cat. At [0.5, 0.5, 0.6, 0.6] there is an object categorized as dog.",
  drop=[NUMBER], ours=[(.5, .5, .6, .6, "dog")], why="0.3.1 is no number (the evaluator ends with an error)")
a("At [nan, nan, nan, nan] there is an object categorized as cat.", drop=[NUMBER])
a("At [10%, 20%, 30%, 40%] there is an object categorized as cat.", drop=[NUMBER])
a("At [here] there is an object categorized as cat [sic].")
a("At [box 0.1, 0.2, 0.3, 0.4] there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")],
  why="a word in the brackets besides four numbers")
# --- brackets -------------------------------------------------------------------------------------------------------------
a("At (0.1, 0.2, 0.3, 0.4) there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")], why="round brackets")
a("At [0.1, 0.2, 0.3, 0.4) there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")], why="mixed brackets")
a("At [0.1, 0.2, 0.3, 0.4 there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")], why="not closed, but whole")
a("At 0.1, 0.2, 0.3, 0.4] there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")], why="not opened")
a("At 0.1, 0.2, 0.3, 0.4 there is an object categorized as cat.", ours=[(.1, .2, .3, .4, "cat")], why="no brackets")
a("At [[0.1, 0.2, 0.3, 0.4]] there is an object categorized as cat.")
a("At [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]] there are things classified as cat.",
  ours=[(.1, .2, .3, .4, "cat"), (.5, .6, .7, .8, "cat")], why="every box of a sentence, not the first alone")
a("An object categorized as cat is at [0.1, 0.2, 0.3 and that is it.", drop=[BRACKET])
a("An object categorized as cat, at [0.1, 0.2, 0.3, 0.4. An object categorized as dog, at [0.2, 0.3, 0.4, 0.5].",
  ours=[(.1, .2, .3, .4, "cat"), (.2, .3, .4, .5, "dog")], why="not closed, but whole")
a("1, 2, 3, 4 and 5 objects are not boxes; nor is 3.5, nor (2 of them), nor what was said in 2019.")
# --- answers that end too early -------------------------------------------------------------------------------------------
a("At [0.1, 0.2, 0.3, 0.4] there is an object categorized as cat. At [0.5, 0.6, 0.", drop=[CUT])
a("At [0.1, 0.2, 0.3, 0.4] there is an object categorized as cat. At [0.5, 0.6, 0.7, 0.8", drop=[CUT])
a("At [0.1, 0.2, 0.3, 0.4] there is an object categorized as cat. At [", drop=[CUT])
a("At [0.1, 0.2, 0.3, 0.4] there is an object categ", ours=[(.1, .2, .3, .4, "")], why="a box without a category is a box")
a("At the [0.1, 0.2, 0.3, 0.4] of the image, an item falls under the category of traff")
a("")
a("There are no objects in this image.")
# --- no category, or not in these words --------------------------------------------------------------------------------------
a("[0.1, 0.2, 0.3, 0.4]", ours=[(.1, .2, .3, .4, "")], why="a box without a category is a box")
a("dog: [0.1, 0.2, 0.3, 0.4]\ncat: [0.5, 0.6, 0.7, 0.8]", ours=[(.1, .2, .3, .4, "dog"), (.5, .6, .7, .8, "cat")],
  why="a name and a colon; line by line")
a("- **dog**: [0.1, 0.2, 0.3, 0.4]\n- **cat**: [0.5, 0.6, 0.7, 0.8]\n", ours=[(.1, .2, .3, .4, "dog"), (.5, .6, .7, .8, "cat")],
  why="a list with names in bold")
a("1. person: [0.1, 0.2, 0.3, 0.4]; 2. car: [0.5, 0.6, 0.7, 0.8].", ours=[(.1, .2, .3, .4, "person"), (.5, .6, .7, .8, "car")],
  why="a numbered list")
a("The image shows a dog at [0.1, 0.2, 0.3, 0.4] and a cat at [0.5, 0.6, 0.7, 0.8].",
  ours=[(.1, .2, .3, .4, ""), (.5, .6, .7, .8, "")], why="boxes without a category, two in a sentence")
a("An object at [0.1, 0.2, 0.3, 0.4] is classified as dog and another at [0.5, 0.6, 0.7, 0.8] is classified as cat.",
  ours=[(.1, .2, .3, .4, "dog"), (.5, .6, .7, .8, "cat")], why="two in a sentence, each with the category that stands after it")
a("At [0.1, 0.2, 0.3, 0.4] there is an object categorized as cat.\nAt [0.5, 0.6, 0.7, 0.8] there is an object categorized as dog.",
  ours=[(.1, .2, .3, .4, "cat"), (.5, .6, .7, .8, "dog")], why="sentences on lines of their own")
a("The [0.1, 0.2, 0.3, 0.4] object is there.", ours=[(.1, .2, .3, .4, "")], why="a label with a bracket in it is none")
a("At [0.1, 0.2, 0.3, 0.4] there is an object categorized as " + "very " * 12 + "long dog.",
  ours=[(.1, .2, .3, .4, ("very " * 12 + "long dog")[:63])], why="a label is cut at 63 bytes")
a("### At [0.1, 0.2, 0.3, 0.4] there is an object categorized as cat.###")


def official(folder):
    for name in ("torchvision", "torchvision.ops", "nltk", "nltk.stem", "nltk.corpus", "tqdm", "torch"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision.ops"].box_iou = None
    sys.modules["tqdm"].tqdm = None
    sys.modules["nltk"].word_tokenize = None
    sys.modules["nltk.stem"].WordNetLemmatizer = None
    sys.modules["nltk.corpus"].wordnet = None
    sys.modules["nltk.corpus"].stopwords = types.SimpleNamespace(words=lambda language: [])
    package = types.ModuleType("metric")
    package.__path__ = [folder]
    sys.modules["metric"] = package
    return importlib.import_module("metric.detection"), importlib.import_module("metric.utils")


def quoted(s):
    out = ""
    for b in s.encode():
        out += {10: "\\n", 34: '\\"', 92: "\\\\"}.get(b, chr(b) if 32 <= b < 127 else "\\%03o" % b)
    lines = []
    while len(out) > 110:                            # between characters, not inside an escape
        cut = max(out.rfind(" ", 0, 110) + 1, 1)
        lines.append(out[:cut])
        out = out[cut:]
    return "\n      ".join('"%s"' % line for line in lines + [out])


def main():
    detection, utils = official(sys.argv[1])
    parser = detection.LAMM_Detection("boxes").parser
    print("/* Made by tools/reference/make_boxes.py, which says what this is. */")
    print("typedef struct answer_box { float v[4]; const char *label; } answer_box;")
    print("typedef struct answer {")
    print("    const char *text, *why;              /* why: how the reader goes beyond the evaluator; NULL: it does not */")
    print("    int         n_official, n_loose, n_ours, n_drop;")
    print("    answer_box  official[3], ours[3];    /* LAMM_Detection's boxes; what the reader gives */")
    print("    float       loose[3][4];             /* parse_bbox's */")
    print("    int         drop[3];                 /* reasons of what the reader drops */")
    print("} answer;")
    print("static const answer answers[] = {")
    for text, drop, ours, why in ANSWERS:
        try:
            boxes, labels = parser(text, ignore_coord_order=True)
        except ValueError:                           # a number that is none: no metric at all
            boxes, labels = [], []
        found = [tuple(b) + (c,) for b, c in zip(boxes, labels)]
        loose = utils.parse_bbox(text)
        given = found if ours is None else ours

        def table(rows):
            return ", ".join("{ { %s }, %s }" % (", ".join("%.9gf" % v if "." in "%.9g" % v else "%.9g.0f" % v for v in r[:4]),
                                                quoted(r[4])) for r in rows) or "{ { 0 }, NULL }"

        print("    { %s,\n      %s,\n      %d, %d, %d, %d," % (quoted(text), quoted(why) if why else "NULL", len(found), len(loose),
                                                          len(given), len(drop)))
        print("      { %s },\n      { %s },\n      { %s }, { %s } }," %
              (table(found), table(given),
               ", ".join("{ %s }" % ", ".join("%.9gf" % v if "." in "%.9g" % v else "%.9g.0f" % v for v in r) for r in loose) or "{ 0 }",
               ", ".join(map(str, drop)) or "0"))
    print("};")
    assert len(ANSWERS) == 100, len(ANSWERS)


main()
