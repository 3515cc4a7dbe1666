"""How a recipe becomes trained weights: data loading, steps, averages, checkpoints, logs."""
