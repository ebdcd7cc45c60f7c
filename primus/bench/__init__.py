"""The same short training over a grid of settings, and which of them is fastest. `primus bench` is this."""
