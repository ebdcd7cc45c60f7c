"""The memory that a layout needs: which stage holds which layers, and what is divided among which processes."""

import pytest

from primus.backends.megatron import BACKEND
from primus.backends.megatron.layout import layout_of
from primus.backends.megatron.memory import estimate_memory, stage_layers, stage_memories
from primus.backends.megatron.parameters import complete_values, count_parameters

MODEL = {
    "num_layers": 8,
    "hidden_size": 256,
    "ffn_hidden_size": 512,
    "num_attention_heads": 4,
    "vocab_size": 1024,
    "max_position_embeddings": 128,
    "position_embedding_type": "rope",
    "untie_embeddings_and_output_weights": True,
    "add_bias_linear": False,
    "swiglu": True,
    "normalization": "RMSNorm",
    "seq_length": 128,
    "micro_batch_size": 1,
    "global_batch_size": 64,
    "bf16": True,
    "hidden_dropout": 0.0,
}


def values(**changes):
    return complete_values(MODEL | changes, BACKEND.schema())


def layers(processes=4, **changes):
    given = values(**changes)
    return stage_layers(given, layout_of(given, processes))


def test_stages_share_the_layers_evenly():
    assert layers(pipeline_model_parallel_size=4) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_the_first_and_the_last_stage_may_hold_others_than_the_rest():
    ends = {"decoder_first_pipeline_num_layers": 3, "decoder_last_pipeline_num_layers": 1}
    assert layers(pipeline_model_parallel_size=4, **ends) == [[0, 1, 2], [3, 4], [5, 6], [7]]


def test_embedding_and_loss_may_count_as_layers():
    ends = {"account_for_embedding_in_pipeline_split": True, "account_for_loss_in_pipeline_split": True}
    assert layers(pipeline_model_parallel_size=2, **ends) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert layers(pipeline_model_parallel_size=5, **ends) == [[0], [1, 2], [3, 4], [5, 6], [7]]


def test_with_virtual_stages_each_process_has_several_pieces():
    assert layers(pipeline_model_parallel_size=2, num_layers_per_virtual_pipeline_stage=2) == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
    ]


def test_the_distributed_optimizer_is_divided_among_the_replicas():
    total = count_parameters(values()).total
    alone = estimate_memory(values(), 4)
    shared = estimate_memory(values(use_distributed_optimizer=True), 4)
    assert (alone.weights, alone.gradients, alone.optimizer) == (2 * total, 4 * total, 12 * total)
    assert shared.optimizer == 3 * total
    assert (shared.weights, shared.gradients) == (alone.weights, alone.gradients)


def test_in_float32_there_is_no_second_copy_of_the_weights():
    total = count_parameters(values()).total
    memory = estimate_memory(values(bf16=False), 1)
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * total, 4 * total, 8 * total)


def test_gradients_may_stay_in_half_precision():
    total = count_parameters(values()).total
    assert estimate_memory(values(accumulate_allreduce_grads_in_fp32=False), 1).gradients == 2 * total


def test_tensor_parallelism_divides_matrices_but_not_norms():
    parameters = count_parameters(values())
    norms = sum(layer.norms for layer in parameters.layers) + parameters.final_norm
    split = estimate_memory(values(tensor_model_parallel_size=4, make_vocab_size_divisible_by=1), 4)
    assert split.weights == 2 * ((parameters.total - norms) // 4 + norms)


def test_experts_are_divided_apart_from_the_rest():
    experts = {"num_experts": 8, "moe_router_topk": 2}
    parameters = count_parameters(values(**experts))
    routed = sum(layer.experts for layer in parameters.layers)
    divided = estimate_memory(values(**experts, expert_model_parallel_size=4), 4)
    assert divided.weights == 2 * (parameters.total - routed + routed // 4)


def test_the_vocabulary_is_padded_as_megatron_pads_it():
    assert estimate_memory(values(vocab_size=1000), 1).weights == estimate_memory(values(vocab_size=1024), 1).weights


@pytest.mark.parametrize("stage", [1, 2])
def test_earlier_stages_hold_more_micro_batches(stage):
    stages = stage_memories(values(pipeline_model_parallel_size=4, vocab_size=128), 4)
    assert stages[stage].activations / (4 - stage) == stages[0].activations / 4


def test_recomputation_keeps_one_tensor_of_each_layer_and_works_on_one_layer():
    none, again = (
        estimate_memory(values(**changes), 1)
        for changes in ({}, {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1})
    )
    layer = again.workspace - none.workspace
    angles = 4 * 128 * 64
    assert again.activations == none.activations - 8 * layer + 8 * 2 * 256 * 128 + angles


def test_recomputation_of_some_layers_keeps_the_others():
    some = values(recompute_granularity="full", recompute_method="block", recompute_num_layers=4)
    all_of_them = values(recompute_granularity="full", recompute_method="block", recompute_num_layers=8)
    none = estimate_memory(values(), 1).activations
    assert estimate_memory(all_of_them, 1).activations < estimate_memory(some, 1).activations < none


def test_the_worst_router_sends_every_token_to_one_process():
    experts = {"num_experts": 8, "moe_router_topk": 2, "expert_model_parallel_size": 4}
    even = estimate_memory(values(**experts), 4)
    assert even.worst_experts > 0
    assert estimate_memory(values(**experts, moe_expert_capacity_factor=1.0), 4).worst_experts == 0
