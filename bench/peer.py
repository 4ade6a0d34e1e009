"""Times transformers' generate for bench/peer.ts: one JSON question a line in, the seconds of the call out."""

import json
import sys
import time

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

made = None, None


def model_of(ask):
    """The model of the last question, where that was the same."""
    global made
    c = ask["config"]
    key = json.dumps([c, ask["dtype"]])
    if made[0] != key:
        config = Qwen2Config(
            vocab_size=c["vocabSize"],
            hidden_size=c["hiddenSize"],
            num_hidden_layers=c["layers"],
            num_attention_heads=c["heads"],
            num_key_value_heads=c["keyValueHeads"],
            intermediate_size=c["intermediateSize"],
            max_position_embeddings=c["maxPositions"],
            tie_word_embeddings=c["tieEmbeddings"],
            eos_token_id=None,
            pad_token_id=0,
            bos_token_id=1,
        )
        torch.manual_seed(1)
        dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[ask["dtype"]]
        made = key, Qwen2ForCausalLM(config).to(dtype).eval()
    return made[1]


for line in sys.stdin:
    ask = json.loads(line)
    torch.set_num_threads(ask["threads"])
    model = model_of(ask)
    ids = torch.randint(5, 200, (ask["batch"], ask["prompt"]))
    started = time.perf_counter()
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=ask["tokens"],
            min_new_tokens=ask["tokens"],
        )
    seconds = time.perf_counter() - started
    assert out.shape[1] == ask["prompt"] + ask["tokens"], out.shape
    print(seconds, flush=True)
