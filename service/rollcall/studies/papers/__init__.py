"""The papers that the product stands on, redone as commands: each study answers one question of the argument."""
