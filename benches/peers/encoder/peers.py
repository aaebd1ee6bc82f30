"""Runs MiniLM as users of ONNX Runtime and PyTorch would, one thread, as often as it is asked to.

    peers.py onnx-fp32|onnx-int8|torch-bf16 BATCH LENGTH

Prints the first text's vector as JSON, then for each number of passes on standard input the seconds of CPU time that
they took. PELTON_MINILM names the model's folder. The ONNX models are made once, beside the environment: opset 17 with
pooling, INT8 by dynamic quantisation of weights per channel.
"""

import json
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np

FOLDER = os.environ["PELTON_MINILM"]
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "target")


def ids_of(batch, length):
    return (1000 + np.arange(batch * length, dtype=np.int64) * 37 % 20000).reshape(batch, length)


def model(**options):
    import torch
    from transformers import AutoModel

    torch.set_num_threads(1)
    return torch, AutoModel.from_pretrained(FOLDER, **options).eval()


def export(path):
    """Writes the model and its INT8 form."""
    torch, encoder = model(attn_implementation="eager")

    class Pooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids, attention_mask):
            types = torch.zeros_like(input_ids)
            out = self.encoder(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=types)
            mask = attention_mask.unsqueeze(-1).to(torch.float32)
            mean = (out.last_hidden_state * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            return mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-12)

    ids = torch.randint(1000, 2000, (2, 16))
    axes = {"input_ids": {0: "b", 1: "s"}, "attention_mask": {0: "b", 1: "s"}, "vector": {0: "b"}}
    torch.onnx.export(
        Pooled(), (ids, torch.ones_like(ids)), path + ".part", dynamo=False, opset_version=17, dynamic_axes=axes,
        input_names=["input_ids", "attention_mask"], output_names=["vector"],
    )
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path + ".part", path.replace("fp32", "int8"), weight_type=QuantType.QInt8, per_channel=True)
    os.rename(path + ".part", path)


def onnx(kind, ids):
    path = os.path.join(HERE, "minilm-fp32.onnx")
    if not os.path.exists(path):
        export(path)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = path.replace("fp32", kind)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return lambda: session.run(None, inputs)[0]


def torch_bf16(ids):
    torch, encoder = model()
    encoder = encoder.bfloat16()
    ids = torch.from_numpy(ids)
    mask = torch.ones_like(ids)

    def run():
        with torch.inference_mode():
            hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            return torch.nn.functional.normalize(hidden.mean(1), dim=-1).numpy()

    return run


def main():
    engine, batch, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ids = ids_of(batch, length)
    run = torch_bf16(ids) if engine == "torch-bf16" else onnx(engine.split("-")[1], ids)
    print(json.dumps([float(x) for x in run()[0]]), flush=True)
    for line in sys.stdin:
        begin = time.process_time()
        for _ in range(int(line)):
            run()
        print(time.process_time() - begin, flush=True)


main()
