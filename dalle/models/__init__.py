"""Networks: the discrete VAE, the transformer, the contrastive model."""
