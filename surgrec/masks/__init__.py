"""Which tokens the encoder sees and which it must predict: pure functions of the grid, the seed and the global position."""
