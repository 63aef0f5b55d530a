"""D4RL files, downloads, collected datasets and reward transforms."""
