"""The errors a user can cause. Each message is one sentence: what, where, expected, got, what to do."""


class AtelierError(Exception):
    """Base of every error that the input causes; anything else that escapes is a defect of ours."""


class InvalidInputError(AtelierError, ValueError):
    """A value has the wrong shape, range or kind."""


class FingerprintMismatchError(AtelierError, ValueError):
    """A latent or vector belongs to another generator."""


class LabelSetMismatchError(AtelierError, ValueError):
    """Two label maps, or a label map and a network, name different parts."""


class TrainingStateError(AtelierError, ValueError):
    """A folder holds the state of another training, or a damaged one."""


class TrainingDivergedError(AtelierError, ArithmeticError):
    """A loss became NaN or infinite."""


class TrainingStoppedError(AtelierError):
    """Another process of a joint training stopped."""


class UnwritableFileError(AtelierError, OSError):
    """The disk does not take a file."""
