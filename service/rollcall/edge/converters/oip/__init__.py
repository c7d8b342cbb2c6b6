"""The Open Inference Protocol, to and from the requests and replies of ExplanationService."""
