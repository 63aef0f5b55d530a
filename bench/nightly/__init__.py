"""The nightly job: a canary grid held against the project's own frozen baseline."""
