"""What the comparison of optimizers trains: models, texts, and the methods themselves."""
