"""The console commands of the runtime: cgan-serve and cgan-translate."""
