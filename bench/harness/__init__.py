"""What the comparison of optimizers trains: models, texts, and the methods themselves."""

#: Of the learning rate. An arena called NAME-SCHEDULE differs from NAME in that alone; the others have the first.
SCHEDULES = ("cosine", "linear", "wsd", "constant")
