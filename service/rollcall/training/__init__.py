"""Training of small classifiers, for the demonstration model and for studies of the flag: nothing here serves."""
