"""The number wing: from trials to mixtures; numpy, scipy, scikit-learn and lightgbm alone."""
