"""Named, versioned protocols, one YAML file each: which pixels, which network, which estimator.

What all of them share. A picture is decoded to uint8 RGB: its EXIF orientation is applied, 16-bit grey is divided by
257 and rounded, CMYK, palette and grey become RGB as Pillow converts them, alpha is laid over white. Then, always in
this order: crop, blur (uint8 in, uint8 out), resize, normalise, network in float32. The resampled unit of every
interval is the prompt; the reference stays fixed.

``version`` grows whenever the same pictures could get another number.
"""
