"""The only code that knows who runs us: ComfyUI, or our own headless executor."""
