"""Named, versioned protocols: which pixels, which network, which estimator."""
