"""Structure-preserving deep learning on manifolds and Lie groups, in PyTorch."""
