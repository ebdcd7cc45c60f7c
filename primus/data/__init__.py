"""Text corpora made ready for training: `primus data prepare` calls prepare(). numpy and the tokenizers' packages are
imported in the worker processes only."""
