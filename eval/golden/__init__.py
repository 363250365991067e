"""What a right installation finds: golden fixtures, and the checks that ``python -m eval doctor`` makes with them.

``make.py`` writes the fixtures, small pictures and the numbers computed of them; ``SHA256SUMS`` says which bytes are
meant. flower.png is a part, made smaller, of "flower.jpg" as scikit-learn distributes it: a photograph by the Flickr
user vultilion (photo 6056698931), licensed CC BY 2.0. Every other file is drawn by ``make.py``.
"""
