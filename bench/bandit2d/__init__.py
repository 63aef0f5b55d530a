"""What a method shows of itself on the papers' 2D problems, what of it is stored, and what papers expect.

The problems themselves are a domain like others (bench/envs/bandit.py), whose files the data package makes.
What is drawn and printed needs the report's tables and charts and stands there (bench/report/bandit2d_*).
"""
