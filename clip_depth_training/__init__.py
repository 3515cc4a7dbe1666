"""Makes the weights the node loads. The node never imports this package."""
