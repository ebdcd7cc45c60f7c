"""A notebook as a script: train a tiny model from Python twice, and compare. Run it as it is, `python examples/api.py`,
or cell by cell in an editor that knows `# %%`. It needs `primus[megatron]`, takes a minute, and writes to ./output.
"""

# %% An experiment that Primus ships, with values of our own: made-up data, and few steps.
import primus

values = {
    "exp_name": "from_python",
    "mock_data": True,
    "data_path": None,
    "train_iters": 5,
    "lr_warmup_iters": 2,
    "log_interval": 1,
    "micro_batch_size": 4,
    "global_batch_size": 4,
}
experiment = primus.load("tiny_llama", backend="megatron", values=values)
print(experiment.exp_name, "is for", experiment.framework, "and goes to", experiment.folder)

# %% What is wrong with it? Nothing; but a key that is misspelled is found before anything runs.
assert not primus.check(experiment, nproc_per_node=1)
for problem in primus.check(primus.load("tiny_llama", backend="megatron", values={**values, "micro_batch_szie": 8})):
    print(problem.severity, problem)

# %% What would run? Nothing is written or started.
job = primus.plan(experiment, nproc_per_node=1)
print(job.module, "for", job.total_steps, "steps in", job.run_dir)

# %% Train. What the training prints is shown; a training that fails is a Run, too.
run = primus.launch(experiment, nproc_per_node=1, resume="never")
assert run.exit_status == 0, run.status.cause

# %% Its metrics, as columns.
first = run.metrics
for step, loss in zip(first.steps, first.columns["loss"], strict=True):
    print(f"step {step}: loss {loss:.3f}")

# %% The same with a lower learning rate.
slower = primus.load("tiny_llama", backend="megatron", values={**values, "exp_name": "slower", "lr": 3e-4})
second = primus.launch(slower, nproc_per_node=1, resume="never").metrics
print(f"After {first.steps[-1]} steps: {first.columns['loss'][-1]:.3f}, slower {second.columns['loss'][-1]:.3f}")
