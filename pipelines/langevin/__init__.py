"""The Langevin prior (Chan, Karras et al., US 2025/0259277): a denoiser nudges any differentiable representation."""
