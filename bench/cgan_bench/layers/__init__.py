"""Where the time of our rows goes, layer by layer, as the backends themselves tell."""
