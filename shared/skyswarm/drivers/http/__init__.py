"""Other agents, repositories and presigned URLs, over HTTP."""
