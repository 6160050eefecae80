"""Turns the demo's GGUF weights into the form that vLLM loads: convert.py GGUF_FOLDER GGUF_FILE TARGET_FOLDER"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

folder, file, target = sys.argv[1:]
# Without dequantize the weights stay packed, and save_pretrained refuses them.
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=file, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
)
model.save_pretrained(target)
AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(target)
