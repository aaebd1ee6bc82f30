"""Makes tests/encoder/families.json: what the reference library computes, in float64, for small random models.

    pip install torch==2.15.0 transformers==4.57.1 && python -P tests/encoder/families.py

Weights are drawn from the generator that tests/encoder/family.rs has, in the order of the tensors' names, so none is
kept: shapes and recorded results are all there is.
"""

import json
import os

import torch
import transformers as tf

MASK = (1 << 64) - 1
IDS = [[0, 5, 9, 2], [0, 2], [0, 63, 17, 40, 41, 42, 8, 9, 33, 21, 4, 2], [0, *range(3, 60), 2], [7]]
# Past the farthest distance that MPNet's bias tells apart, to both sides.
FAR = [[0, *((7 * i + 3) % 60 + 4 for i in range(198)), 2]]


class SplitMix:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def unit(self):
        """From -1 to 1, of 24 bits, so exact in float32."""
        return (self.next() >> 40) / (1 << 23) - 1.0


def fill(model, seed):
    """Draws all weights; how a tensor is spread is told by its name and shape."""
    rng, state = SplitMix(seed), model.state_dict()
    for name in sorted(state):
        shape = list(state[name].shape)
        if "position_ids" in name:
            continue
        norm = "LayerNorm.weight" in name or "layer_norm.weight" in name
        middle = 1.0 if norm else 0.0
        spread = 0.25 if len(shape) == 2 else 0.125
        count = 1
        for n in shape:
            count *= n
        values = [middle + spread * rng.unit() for _ in range(count)]
        state[name] = torch.tensor(values, dtype=torch.float32).double().reshape(shape)
    model.load_state_dict(state)
    return {name: list(state[name].shape) for name in sorted(state) if "position_ids" not in name}


def main():
    torch.set_default_dtype(torch.float64)
    common = dict(vocab_size=64, hidden_act="gelu", num_hidden_layers=2, num_attention_heads=2, hidden_size=64)
    common.update(intermediate_size=96, max_position_embeddings=98)
    distil = dict(vocab_size=64, dim=64, n_layers=2, n_heads=2, hidden_dim=96, max_position_embeddings=96)
    roberta = dict(common, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)
    bert = dict(common, type_vocab_size=2, layer_norm_eps=1e-12)
    labels = dict(id2label={0: "calm", 1: "angry", 2: "sad"}, label2id={"calm": 0, "angry": 1, "sad": 2})
    many = dict(num_labels=37)
    mpnet = dict(common, max_position_embeddings=202, layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0)
    mpnet.update(eos_token_id=2, relative_attention_num_buckets=32)
    models = [
        tf.RobertaModel(tf.RobertaConfig(**roberta), add_pooling_layer=False),
        tf.XLMRobertaModel(tf.XLMRobertaConfig(**roberta)),
        tf.DistilBertModel(tf.DistilBertConfig(**distil)),
        tf.DistilBertModel(tf.DistilBertConfig(**dict(distil, activation="relu"))),
        tf.BertForSequenceClassification(tf.BertConfig(**bert, **labels)),
        tf.RobertaForSequenceClassification(tf.RobertaConfig(**roberta, **many)),
        tf.XLMRobertaForSequenceClassification(tf.XLMRobertaConfig(**roberta, **labels)),
        tf.DistilBertForSequenceClassification(tf.DistilBertConfig(**distil, **labels)),
        tf.MPNetModel(tf.MPNetConfig(**mpnet)),
        tf.MPNetForSequenceClassification(tf.MPNetConfig(**mpnet, **labels)),
    ]
    out = []
    for seed, model in enumerate(models, 1):
        model.eval()
        shapes = fill(model, seed)
        config = model.config.to_dict()
        config["architectures"] = [type(model).__name__]
        with torch.no_grad():
            results, all_ids = [], IDS + (FAR if config["model_type"] == "mpnet" else [])
            for ids in all_ids:
                found = model(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
                scores = hasattr(found, "logits")
                row = found.logits[0] if scores else found.last_hidden_state[0].mean(0)
                if not scores:
                    row = row / row.norm()
                results.append([float(f"{x:.12g}") for x in row.tolist()])
        # What the library writes for every kind of model; the rest is what save_pretrained keeps.
        keep = model.config.to_diff_dict() | {key: config[key] for key in config if key in
               {"architectures", "model_type", *common, *distil, "type_vocab_size", "layer_norm_eps", "pad_token_id",
                "activation", "id2label", "label2id", "relative_attention_num_buckets"}}
        # Every other one with all that the library knows of any model.
        keep = keep if seed % 2 else config
        name = type(model).__name__
        out.append(dict(name=name, seed=seed, config=keep, tensors=shapes, ids=all_ids, results=results))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "families.json")
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(item, separators=(",", ":")) for item in out) + "\n]\n")


main()
