"""A loop whose model is one number that goes to zero."""

import pathlib
import sys
import time

import torch
from megatron.training import global_vars
from megatron.training.arguments import parse_args
from megatron.training.dist_signal_handler import DistributedSignalHandler
from megatron.training.initialize import initialize_megatron


def pretrain():
    args = parse_args()
    args.padded_vocab_size = args.vocab_size
    global_vars.ARGS.append(args)
    print("attention_backend is", args.attention_backend.name)
    initialize_megatron(args)
    handler = DistributedSignalHandler().__enter__()
    (model,), optimizer, _ = setup_model_and_optimizer(None, None)
    for step in range(args.iteration + 1, args.train_iters + 1):
        time.sleep(0.01)
        loss = model.weight.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        training_log({"lm loss": loss.detach()}, {}, args.lr, None, step, grad_norm=2.0)
        if handler.received:
            save_checkpoint_and_time(step, model)
            sys.exit(0)
        if step % args.save_interval == 0:
            save_checkpoint_and_time(step, model)
    evaluate_and_print_results("on test set", model)


def setup_model_and_optimizer(model_provider_func, model_type):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    args = global_vars.get_args()
    args.iteration = load(args, model)
    return [model], torch.optim.SGD(model.parameters(), lr=0.1), None


def training_log(loss_dict, total_loss_dict, learning_rate, new_argument, iteration, grad_norm):
    print(f"iteration {iteration}")
    return False


def evaluate(model):
    return {"lm loss": model.weight.detach().square().sum()}, None, False


def evaluate_and_print_results(prefix, model):
    print(prefix, evaluate(model))


def save_checkpoint_and_time(iteration, model):
    folder = pathlib.Path(global_vars.get_args().save)
    checkpoint = folder / f"iter_{iteration:07d}"
    checkpoint.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), checkpoint / "model.pt")
    (folder / "latest_checkpointed_iteration.txt").write_text(str(iteration))


def load(args, model):
    if args.load is None:
        return 0
    folder = pathlib.Path(args.load)
    step = int((folder / "latest_checkpointed_iteration.txt").read_text())
    model.load_state_dict(torch.load(folder / f"iter_{step:07d}" / "model.pt"))
    return step
