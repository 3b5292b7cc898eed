"""The layers and networks the families are built from. Letters in the shapes: b batch, c channels, h w pixels."""
