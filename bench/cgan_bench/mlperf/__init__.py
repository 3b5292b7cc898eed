"""The scenarios of MLPerf Inference, by its own load generator. None of it is an official MLPerf submission."""
