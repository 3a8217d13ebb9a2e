"""Models from and for other programs: the reference's folders in; DFM, ONNX and TorchScript files out."""
