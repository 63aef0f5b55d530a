"""What is known of a GPU without one: graphs emulated, kernels counted over fake tensors, a model of time."""
