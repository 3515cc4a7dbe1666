"""How good weights are: measurement, protocols, trivial predictions, published figures, reports."""
