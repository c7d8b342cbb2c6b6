"""The doors: gRPC for callers, HTTP for operators. Nothing else imports grpc, aiohttp or the generated stubs."""
