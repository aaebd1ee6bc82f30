"""Makes the small tokenizers of the tests, NAME.tokenizer.json, and what the library gives texts, NAME.json.

    pip install tokenizers==0.22.1 && python tests/encoder/tokenizers.py
"""

import json
import os
import random
import struct
import sys

# The folder of this file holds a file of the library's name.
sys.path = [path for path in sys.path if os.path.abspath(path or ".") != os.path.dirname(os.path.abspath(__file__))]
import tokenizers as tk  # noqa: E402
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
TEXT = [
    "the water turns the wheel and the wheel turns the mill; a fast jet of water", "don't we'll they're I'm you've",
    "Das Wasserrad dreht sich, weil das Wasser fließt. Größe, Übung, naïve Ångström", "3.14 2026 100 42 ½ 1,000",
    "вода вращает колесо и мельницу", "水車は水の力で回る 漢字 ガ", "  spaces   and\ttabs\n\nlines", "e\u0301te\u0301 🙂 👩‍🚀",
] * 8
MASK = tk.AddedToken("<mask>", lstrip=True, special=True)
PARTS = [" ", "  ", "\t", "\n", "<s>", "<mask>", " <mask> ", "<S>", "</s", "▁", "e\u0301", "İ", "ß", "ﬁ", "ǅ",
         "각", "ガ", "漢字",
         "\u1100\u1161\u11a8", "\u200d", "\u00ad", "don't", "'ll", "U.S.A.", "3.14", "water", "wheel",
         "Ａ\u0301", "\0", "\ufffd", "🙂", "👩‍🚀", "naïve", "Ångström", "½", "\u2460", "\r\n", "\u00a0", "\u3000"]


def charsmap(pairs):
    """SentencePiece's: a double-array trie from texts to places of what they become."""
    texts, tree = b"", {}
    for text, becomes in sorted(pairs.items()):
        node = tree
        for byte in text.encode():
            node = node.setdefault(byte, {})
        node[0] = len(texts)
        texts += becomes.encode() + b"\0"
    units, used = {}, {0}

    def place(node, at, label):
        offset = next(o for o in range(1, 1 << 16) if not any(at ^ o ^ c in used for c in node))
        used.update(at ^ offset ^ c for c in node)
        units[at] = offset << 10 | (256 if 0 in node else 0) | label
        for byte, child in node.items():
            if byte == 0:
                units[at ^ offset] = child | 1 << 31
            else:
                place(child, at ^ offset ^ byte, byte)

    place(tree, 0, 0)
    # Whole blocks of 256, so that no byte leads out of it.
    array = [units.get(i, 0) for i in range((max(units) | 255) + 1)]
    return struct.pack("<I", 4 * len(array)) + b"".join(struct.pack("<I", unit) for unit in array) + texts


def bpe():
    tokenizer = tk.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = dict(special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    trainer = trainers.BpeTrainer(vocab_size=520, **options)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens([MASK])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def unigram(normalizer, spaces):
    tokenizer = tk.Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    metaspace = pre_tokenizers.Metaspace()
    before = [pre_tokenizers.WhitespaceSplit(), metaspace]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(before) if spaces else metaspace
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens([MASK])
    single = "<s> $A </s>"
    tokenizer.post_processor = processors.TemplateProcessing(single, special_tokens=[("<s>", 0), ("</s>", 2)])
    return tokenizer


def normalized():
    tokenizer = tk.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_tokens([tk.AddedToken("<Mask>", normalized=True, rstrip=True), tk.AddedToken("<S>", normalized=True)])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def texts(rng):
    for _ in range(400):
        text = ""
        for _ in range(rng.randrange(24)):
            kind = rng.randrange(7)
            if kind == 0:
                text += rng.choice(PARTS)
            elif kind <= 2:
                text += "".join(chr(97 + rng.randrange(26)) for _ in range(1 + rng.randrange(9)))
            elif kind == 3:
                text += chr(rng.randrange(0x600))
            elif kind == 4:
                text += chr(rng.choice([rng.randrange(0xd800), rng.randrange(0xe000, 0x110000)]))
            elif kind == 5:
                text += rng.choice(rng.choice(TEXT).split())
            else:
                text += " "
        yield text


def main():
    mapped = {"Ａ": "A", "ﬁ": "fi", "½": "1⁄2", "\u3000": " ", "\u00a0": " ", "\t": " ", "\n": " ", "ガ": "カ\u3099",
              "\u00ad": "", "\ufdfa": "صلى الله عليه وسلم", "é": "e\u0301", "e\u0301": "é", "\u2460": "1"}
    steps = [normalizers.Precompiled(charsmap(mapped)), normalizers.Strip(left=False),
             normalizers.Replace(tk.Regex(" {2,}"), "▁")]
    steps = normalizers.Sequence(steps)
    made = {"bpe": bpe(), "unigram": unigram(normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]), True),
            "charsmap": unigram(steps, False), "normalized": normalized()}
    for name, tokenizer in made.items():
        tokenizer.save(os.path.join(HERE, f"{name}.tokenizer.json"), pretty=False)
        rows = []
        for text in texts(random.Random(2026)):
            ids = tokenizer.encode(text).ids
            rows.append([text, ids if len(ids) <= 80 else ids[:79] + ids[-1:]])
        with open(os.path.join(HERE, f"{name}.json"), "w") as file:
            file.write("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")
        print(name, tokenizer.get_vocab_size())


main()
