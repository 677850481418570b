"""Settings of the whole test run."""

import torch

# the tests' matrices are small: threads of two workers on two cores would wait for each other most of the time
torch.set_num_threads(1)
