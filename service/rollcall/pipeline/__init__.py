"""One request, in one direction. Free of tensors: what runs models is handed in by `app`."""
