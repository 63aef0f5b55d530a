"""Rollouts, protocols and action latency."""
