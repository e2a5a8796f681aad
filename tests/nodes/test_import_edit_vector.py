"""EditGAN's published vectors, bound to the generator they were made with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from latent_atelier.nodes.edit_vectors import ImportEditVector
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.runtime.context import ExecutionContext, Folders
from latent_atelier.runtime.folders import model_path
from latent_atelier.runtime.model_cache import load_model


def test_a_vector_is_bound_to_its_generator(tmp_path: Path) -> None:
    generator = load_model(model_path("stylegan2", "toy_cars_64.safetensors"))
    network = generator.acquire()
    delta = np.random.default_rng(0).normal(size=(1, network.num_ws, network.w_dim)).astype(np.float32)
    np.save(tmp_path / "wheel_enlarge.npy", delta)
    np.save(tmp_path / "car_512.npy", np.zeros((1, 16, 512), np.float32))
    folders = Folders(input=(tmp_path,), output=tmp_path, temp=tmp_path, models=())
    with ExecutionContext(folders=folders).activate():
        vector = ImportEditVector.execute("wheel_enlarge.npy", generator, edited_labels="tyre, hub").args[0]
        with pytest.raises(InvalidInputError, match=r"\[16, 512\], but 'toy_cars_64\.safetensors' takes W\+ codes"):
            ImportEditVector.execute("car_512.npy", generator)
        with pytest.raises(InvalidInputError, match="no edit vector file"):
            ImportEditVector.execute("none.npy", generator)
    assert (vector.name, vector.labels, vector.fingerprint) == ("wheel_enlarge", ("tyre", "hub"), generator.fingerprint)
    assert torch.equal(vector.delta, torch.from_numpy(delta[0]))
