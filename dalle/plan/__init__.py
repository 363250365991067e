"""What an experiment will cost, from its config alone: parameters, FLOPs, memory, traffic, time and disk.

Models are built on the meta device, which has shapes and no numbers, so twelve billion parameters are counted on a
laptop. Each number's formula stands in the docstring of the function that gives it.
"""
