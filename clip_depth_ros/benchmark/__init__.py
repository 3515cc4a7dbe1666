"""What this software costs on the machine at hand: ``clip-depth benchmark``.

Every part measures one thing against a reference in the same run, and leaves every run's value as JSON, a table and a
plot. Figures, never timed tests.
"""
