"""The other side of bench/: transformers, PEFT and TRL, asked as bench/ours.ts is.

The first line of stdin says what to do, every line after it asks for one step, which is answered with its seconds and
the most memory that the process has held.
"""

import json
import os
import resource
import sys
import tempfile
import time

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print is not an answer
ask = json.loads(sys.stdin.readline())
work, variant = ask["work"], ask["variant"]
os.environ.update(OMP_NUM_THREADS=str(ask["threads"]), HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback

torch.set_num_threads(ask["threads"])
torch.manual_seed(1)
dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[variant["dtype"]]


def say(**answer):
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def peak_bytes():
    try:
        with open("/proc/self/status") as status:
            return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def asked():
    """Waits for the next line; the process ends where there is none."""
    if not sys.stdin.readline():
        os._exit(0)


def timed(step):
    say(ready=True)
    while True:
        asked()
        started = time.perf_counter()
        parts = step() or {}
        say(seconds=time.perf_counter() - started, parts=parts, peakBytes=peak_bytes())


def loaded():
    return AutoModelForCausalLM.from_pretrained(ask["folder"], dtype=dtype)


def lora():
    from peft import LoraConfig

    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0, target_modules="all-linear", task_type="CAUSAL_LM")


def adapted():
    from peft import get_peft_model

    return get_peft_model(loaded(), lora(), autocast_adapter_dtype="bf16 adapters" not in variant["name"])


def generate():
    model = (adapted() if work["adapter"] else loaded()).eval()
    model.generation_config.eos_token_id = None  # nothing ends before its length
    prompts = [ids for ids in ask["prompts"] for _ in range(work["group"])]
    ids = torch.tensor(prompts)
    mask = torch.ones_like(ids)
    longest = max(work["lengths"])  # of a batch that is not refilled, all are computed to the longest

    def step():
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=mask,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=longest,
            )
        assert out.shape[1] == ids.shape[1] + longest, out.shape

    timed(step)


def sft():
    model = adapted()
    model.config.use_cache = False
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    ids = torch.tensor(ask["prompts"])

    def step():
        started = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=variant["autocast"]):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss
        loss.backward()
        between = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return {"gradient": between - started, "optimizer": time.perf_counter() - between}

    timed(step)


def words():
    """A tokenizer whose word t7 is id 7."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    count = ask["config"]["vocabSize"]
    model = models.WordLevel({f"t{i}": i for i in range(count)}, unk_token="t0")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="t0", pad_token="t0", bos_token="t1", eos_token="t2", padding_side="left"
    )


class Gate(TrainerCallback):
    """Lets the trainer make a step when one is asked for."""

    ready = False

    def on_step_begin(self, *_, **__):
        if not self.ready:
            self.ready = True
            say(ready=True)
        asked()
        self.started = time.perf_counter()

    def on_step_end(self, *_, **__):
        say(seconds=time.perf_counter() - self.started, parts={}, peakBytes=peak_bytes())


def rewards(completion_ids, **_):
    """Costs nothing, and is not the same for all of a group."""
    assert all(len(ids) == work["newTokens"] for ids in completion_ids), [len(ids) for ids in completion_ids]
    return [float(i % 2) for i in range(len(completion_ids))]


def grpo():
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    sequences = work["prompts"] * work["group"]
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(prefix="reckon-bench-trl-"),
        per_device_train_batch_size=work["microBatch"],
        gradient_accumulation_steps=sequences // work["microBatch"],
        num_generations=work["group"],
        max_completion_length=work["newTokens"],
        generation_kwargs={"min_new_tokens": work["newTokens"]},
        temperature=1.0,
        beta=0.0,
        epsilon=0.2,
        num_iterations=1,
        loss_type="dapo",
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        gradient_checkpointing=work["checkpointing"],
        bf16=variant["autocast"],
        use_cpu=True,
        max_steps=10**6,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=1,
    )
    prompts = [" ".join(f"t{i}" for i in ids) for ids in ask["prompts"]]
    trainer = GRPOTrainer(
        model=loaded(),
        reward_funcs=rewards,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=words(),
        callbacks=[Gate()],
        **({"peft_config": lora()} if work["adapter"] else {}),
    )
    trainer.train()


{"generate": generate, "sft": sft, "grpo": grpo}[work["kind"]]()
