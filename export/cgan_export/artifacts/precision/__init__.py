"""Other precisions of the FP32 graph: one file each, and the search for what must stay in FP32."""
