"""The PyTorch reference of ECP-ViT: graph, attention, conversion, core choice, MACs and training.

This is the only subpackage of ``ecp`` that imports torch, and it imports nothing of the compiler:
models leave it as ONNX files. No measuring code and no data belong here.
"""
