"""Records of the design loop, and pure judgement of them: what a hit is, who ranks before whom."""
