"""What keeps a server alive: Triton and the gateway as processes that are watched, versions, and commands to it."""
