"""What keeps a server alive: Triton and the gate as processes that are watched, versions, and commands to it."""
