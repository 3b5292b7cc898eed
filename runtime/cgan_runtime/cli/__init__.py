"""The console commands of the runtime: cgan-generate, cgan-translate and cgan-serve."""
