"""A language model of random numbers: llama.cpp loads it like any other, and it talks nonsense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType

WIDTH = 64
HEADS = 4
CONTEXT = 4096
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_tiny_model(path: Path) -> None:
    """A llama of one block with a vocabulary of bytes, about 350 KB."""
    writer = GGUFWriter(path, "llama")
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    special = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(0)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([*special, *[TokenType.BYTE] * 256])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)  # else no grammar accepts what begins the reply
    writer.add_chat_template(CHAT_TEMPLATE)

    random = np.random.default_rng(7)
    shapes = {
        "token_embd.weight": (len(tokens), WIDTH),
        "blk.0.attn_q.weight": (WIDTH, WIDTH),
        "blk.0.attn_k.weight": (WIDTH, WIDTH),
        "blk.0.attn_v.weight": (WIDTH, WIDTH),
        "blk.0.attn_output.weight": (WIDTH, WIDTH),
        "blk.0.ffn_gate.weight": (2 * WIDTH, WIDTH),
        "blk.0.ffn_up.weight": (2 * WIDTH, WIDTH),
        "blk.0.ffn_down.weight": (WIDTH, 2 * WIDTH),
        "output.weight": (len(tokens), WIDTH),
    }
    for name, shape in shapes.items():
        tensor = random.standard_normal(shape, dtype=np.float32) * 0.1
        if name == "output.weight":
            tensor[:3] = 0  # never ends by itself: replies are as long as asked for
        writer.add_tensor(name, tensor, raw_dtype=GGMLQuantizationType.F32)
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        writer.add_tensor(name, np.ones(WIDTH, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
