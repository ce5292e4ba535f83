"""What a trained model says: evidence, imputation, information, collapse."""
