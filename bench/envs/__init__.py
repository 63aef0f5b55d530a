"""Batched MuJoCo simulators and the task rules on top of them."""
