"""One thread for all tests: the pieces of work are too small for more."""

import torch

torch.set_num_threads(1)
