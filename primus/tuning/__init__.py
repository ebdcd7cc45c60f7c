"""hipBLASLt tuning: dump the GEMM shapes of a training run, tune them offline, train with the tuned kernels."""
