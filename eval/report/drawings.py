"""Figures within the page. Drawn by the house style, they take the page's ink and paper, light or dark."""

from pathlib import Path
from xml.etree import ElementTree

from markupsafe import Markup

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


def read_svg(path: str | Path) -> Markup:
    """The figure as an element of HTML, as wide as its place. Raises ValueError for what is no SVG."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: not an SVG ({error})") from None
    if root.tag != f"{{{SVG}}}svg":
        raise ValueError(f"{path}: its root is {root.tag}, expected svg")
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    for data in root.findall(f"{{{SVG}}}metadata"):
        root.remove(data)
    _prefix_names(root, Path(path).stem)
    root.set("aria-hidden", "true")  # its words are glyphs; the figure's alternative text stands beside it
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _prefix_names(root: ElementTree.Element, prefix: str) -> None:
    """Names are of the whole page: two figures may both have a patch_2."""
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{prefix}-{value}")
            elif key == f"{{{XLINK}}}href" and value.startswith("#"):
                element.set(key, f"#{prefix}-{value[1:]}")
            elif value.startswith("url(#"):
                element.set(key, f"url(#{prefix}-{value[5:]}")
