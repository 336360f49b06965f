#!/usr/bin/env python3
"""Whether others read what octavius --draw wrote: PNG by Pillow, SVG by an XML parser and the picture in it by Pillow.

    read_drawings.py PICTURE DRAWN.png|DRAWN.svg...

A PNG has the picture's size, and Pillow's own file of the same pixels is named beside it; the picture inside an SVG has the very
pixels of PICTURE (turned upright), and each <g> one rectangle for a box.
"""
import base64
import io
import sys
import xml.etree.ElementTree as ET

from PIL import Image, ImageOps


def pixels(image):
    return image.convert("RGBA" if image.mode in ("RGBA", "LA") else "RGB")


def main():
    picture = pixels(ImageOps.exif_transpose(Image.open(sys.argv[1])))
    for path in sys.argv[2:]:
        if path.endswith(".svg"):
            root = ET.parse(path).getroot()
            ns = "{http://www.w3.org/2000/svg}"
            data = base64.b64decode(root.find(ns + "image").get("href").split(",", 1)[1], validate=True)
            inside = Image.open(io.BytesIO(data))
            assert inside.mode == picture.mode and inside.tobytes() == picture.tobytes(), path
            print(path, [g.find(ns + "title").text or "" for g in root.findall(ns + "g")])
        else:
            drawn = Image.open(path)
            drawn.load()
            assert drawn.size == picture.size and drawn.mode == picture.mode, path
            again = io.BytesIO()
            drawn.save(again, "PNG")
            print(path, drawn.size, "%.3f of the size of Pillow's" % (len(open(path, "rb").read()) / len(again.getvalue())))


main()
