"""The parity oracle: what PyTorch's DistributedDataParallel computes for a case, and how Rondo compares."""
