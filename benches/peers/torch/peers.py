"""Runs what T5 measures as users of PyTorch would, on a CUDA card, as often as it is asked to.

    peers.py gemm N
    peers.py linear TOKENS DEPTH COLUMNS
    peers.py attention BATCH LENGTH HEADS SIZE
    peers.py minilm BATCH LENGTH eager|compiled

Prints PyTorch's version, then for each number n on standard input, in one line, the seconds that each of n passes took:
of products (cuBLAS), a linear layer with GELU (cuBLASLt and a kernel for the activation) and attention (the best of its
own) the mean of twenty passes in a row; of MiniLM in F16 from token ids in host memory to vectors in host memory.
PELTON_MINILM names the model's folder. PELTON_TORCH_DEVICE=cpu checks this script where there is no card.
"""

import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import torch.nn.functional as F

DEVICE = os.environ.get("PELTON_TORCH_DEVICE", "cuda")
IN_A_ROW = 20


def random(*sizes, dtype=torch.bfloat16):
    return torch.randn(*sizes, dtype=torch.float32, device=DEVICE).to(dtype)


def gemm(n):
    a, w = random(n, n), random(n, n)
    return IN_A_ROW, lambda: torch.matmul(a, w.T)


def linear(tokens, depth, columns):
    a, w, bias = random(tokens, depth), random(columns, depth), random(columns)
    return IN_A_ROW, lambda: F.gelu(F.linear(a, w, bias))


def attention(batch, length, heads, size):
    q, k, v = (random(batch, heads, length, size) for _ in range(3))
    return IN_A_ROW, lambda: F.scaled_dot_product_attention(q, k, v)


def minilm(batch, length, how):
    from transformers import AutoModel

    encoder = AutoModel.from_pretrained(os.environ["PELTON_MINILM"]).eval().half().to(DEVICE)
    ids = (1000 + torch.arange(batch * length) * 37 % 20000).reshape(batch, length)
    mask = torch.ones_like(ids).to(DEVICE)

    def forward(ids):
        hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        return F.normalize(hidden.mean(1), dim=-1)

    if how == "compiled":
        forward = torch.compile(forward, mode="max-autotune")
    return 1, lambda: forward(ids.to(DEVICE)).cpu()


def main():
    case, *args = sys.argv[1:]
    cases = {"gemm": gemm, "linear": linear, "attention": attention, "minilm": minilm}
    with torch.inference_mode():
        in_a_row, run = cases[case](*(int(arg) if arg.isdigit() else arg for arg in args))
        wait = torch.cuda.synchronize if DEVICE == "cuda" else lambda: None
        for _ in range(5):
            run()
        print(torch.__version__, flush=True)
        for line in sys.stdin:
            took = []
            for _ in range(int(line)):
                wait()
                begin = time.perf_counter()
                for _ in range(in_a_row):
                    run()
                wait()
                took.append((time.perf_counter() - begin) / in_a_row)
            print(*took, flush=True)


main()
