"""The embedded host's own nodes give what the host's give."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from latent_atelier.headless import core_nodes, pictures
from latent_atelier.headless.executor import Executor, NodeFailedError
from latent_atelier.headless.node_types import by_id, object_info
from latent_atelier.headless.problems import InvalidWorkflowError
from latent_atelier.headless.validation import validate
from latent_atelier.pipelines.errors import InvalidInputError
from PIL import Image

CLASSES = by_id(core_nodes.CORE_NODES)

HOST = {
    "LoadImage": (["image"], ["IMAGE", "MASK"], False),
    "LoadImageMask": (["image", "channel"], ["MASK"], False),
    "SaveImage": (["images", "filename_prefix"], ["IMAGE"], True),
    "PreviewImage": (["images"], ["IMAGE"], True),
    "MaskPreview": (["mask"], ["MASK"], True),
    "ImageScale": (["image", "upscale_method", "width", "height", "crop"], ["IMAGE"], False),
    "ImageScaleBy": (["image", "upscale_method", "scale_by"], ["IMAGE"], False),
    "ImageBatch": (["image1", "image2"], ["IMAGE"], False),
    "MaskToImage": (["mask"], ["IMAGE"], False),
    "ImageToMask": (["image", "channel"], ["MASK"], False),
    "LoadAudio": (["audio"], ["AUDIO"], False),
    "SaveAudio": (["audio", "filename_prefix"], ["AUDIO"], True),
    "SaveAudioMP3": (["audio", "filename_prefix", "quality"], ["AUDIO"], True),
    "SaveAudioOpus": (["audio", "filename_prefix", "quality"], ["AUDIO"], True),
    "SaveAudioAdvanced": (["audio", "filename_prefix", "format"], ["AUDIO"], True),
    "PreviewAudio": (["audio"], ["AUDIO"], True),
    "EmptyAudio": (["duration", "sample_rate", "channels"], ["AUDIO"], False),
    "TrimAudioDuration": (["audio", "start_index", "duration"], ["AUDIO"], False),
    "AudioConcat": (["audio1", "audio2", "direction"], ["AUDIO"], False),
    "AudioMerge": (["audio1", "audio2", "merge_method"], ["AUDIO"], False),
    "AudioAdjustVolume": (["audio", "volume"], ["AUDIO"], False),
    "SplitAudioChannels": (["audio"], ["AUDIO", "AUDIO"], False),
    "JoinAudioChannels": (["audio_left", "audio_right"], ["AUDIO"], False),
    "LoadVideo": (["file"], ["VIDEO"], False),
    "CreateVideo": (["images", "fps"], ["VIDEO"], False),
    "GetVideoComponents": (["video"], ["IMAGE", "AUDIO", "FLOAT", "INT", "COMBO"], False),
    "SaveVideo": (["video", "filename_prefix", "format"], ["VIDEO"], True),
    "Video Slice": (["video", "start_time", "duration", "strict_duration"], ["VIDEO"], False),
    "SaveAnimatedWEBP": (["images", "filename_prefix", "fps", "lossless", "quality", "method"], ["IMAGE"], True),
    "SaveAnimatedPNG": (["images", "filename_prefix", "fps", "compress_level"], ["IMAGE"], True),
    "SaveGLB": (["mesh", "filename_prefix"], [], True),
    "PrimitiveString": (["value"], ["STRING"], False),
    "PrimitiveStringMultiline": (["value"], ["STRING"], False),
    "PrimitiveInt": (["value"], ["INT"], False),
    "PrimitiveFloat": (["value"], ["FLOAT"], False),
    "PrimitiveBoolean": (["value"], ["BOOLEAN"], False),
    "PreviewAny": (["source"], ["STRING"], True),
}


@pytest.fixture
def folder(bench):
    (bench.root / "input").mkdir()
    return bench.root / "input"


def run(bench, nodes, **observers):
    with bench.context.activate():
        graph = validate(bench.workflow(nodes), CLASSES)
    return Executor(bench.context).run(graph)


def test_names_and_slots_are_the_hosts(bench):
    with bench.context.activate():
        info = object_info(CLASSES)
    found = {key: (list(node["input"]["required"]), node["output"], node["output_node"]) for key, node in info.items()}
    assert found == HOST
    assert info["ImageScale"]["input"]["required"]["width"][1] == {"default": 512, "min": 0, "max": 16384, "step": 1}
    assert info["SaveImage"]["input"]["required"]["filename_prefix"][1]["default"] == "ComfyUI"


def pixels(height=5, width=7, channels=3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_colour(folder):
    Image.fromarray(pixels()).save(folder / "a.png")
    images, masks = pictures.load_picture(folder / "a.png")
    assert images.dtype == torch.float32
    assert torch.equal(images, torch.from_numpy(pixels()[None].astype(np.float32) / 255))
    assert torch.equal(masks, torch.zeros(1, 64, 64))


def test_alpha_becomes_the_inverted_mask(folder):
    Image.fromarray(pixels(channels=4)).save(folder / "a.png")
    images, masks = pictures.load_picture(folder / "a.png")
    assert images.shape == (1, 5, 7, 3)
    assert torch.equal(masks[0], 1 - torch.from_numpy(pixels(channels=4)[..., 3].astype(np.float32) / 255))


def test_indexed_pictures_have_a_mask_of_their_own_size(folder):
    Image.fromarray(pixels()).quantize(8).save(folder / "a.png")
    assert torch.equal(pictures.load_picture(folder / "a.png")[1], torch.zeros(1, 5, 7))


def test_sixteen_bit_grey_keeps_its_depth(folder):
    values = np.arange(0, 65536, 655, dtype=np.uint16).reshape(1, -1)
    Image.fromarray(values).save(folder / "a.png")
    images, masks = pictures.load_picture(folder / "a.png")
    assert torch.equal(images[0, 0, :, 1], torch.from_numpy(values[0].astype(np.float32) / 65535))
    assert masks.shape == (1, 64, 64)


def test_exif_orientation_is_applied(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels()).save(folder / "a.png", exif=exif)
    images, _ = pictures.load_picture(folder / "a.png")
    assert torch.equal(images[0], torch.rot90(torch.from_numpy(pixels().astype(np.float32) / 255), -1))


def test_frames_are_a_batch(folder):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    images, masks = pictures.load_picture(folder / "a.gif")
    assert images.shape == (3, 4, 4, 3)
    assert masks.shape == (3, 4, 4)
    assert torch.equal(images[:, 0, 0], torch.eye(3))


def bomb(path, width, height) -> None:
    """A PNG of one pixel whose header claims another size."""
    import struct
    import zlib

    Image.new("L", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


@pytest.mark.parametrize("size", [(20000, 20000), (12000, 12000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_before_decoding(folder, size):
    bomb(folder / "a.png", *size)
    with pytest.raises(InvalidInputError, match=r"a\.png is too large.* more than 100 megapixels"):
        pictures.load_picture(folder / "a.png")


def test_other_files_are_one_sentence(folder):
    (folder / "a.png").write_bytes(b"not a picture")
    with pytest.raises(InvalidInputError, match="is not a picture"):
        pictures.load_picture(folder / "a.png")
    with pytest.raises(InvalidInputError, match="does not exist"):
        pictures.load_picture(folder / "none.png")
    Image.fromarray(pixels(200, 200)).save(folder / "b.png")
    whole = (folder / "b.png").read_bytes()
    for length in (40, 60, len(whole) // 2, len(whole) - 2000):
        (folder / "a.png").write_bytes(whole[:length])
        with pytest.raises(InvalidInputError, match=r"damaged|not a picture"):
            pictures.load_picture(folder / "a.png")


def test_one_pixel_is_a_picture(folder):
    Image.new("RGB", (1, 1), "red").save(folder / "a.png")
    assert pictures.load_picture(folder / "a.png")[0].tolist() == [[[[1.0, 0.0, 0.0]]]]


@pytest.mark.parametrize("method", pictures.RESIZE_METHODS)
def test_resize(method):
    images = torch.rand(2, 8, 12, 3, generator=torch.Generator().manual_seed(0))
    assert pictures.resize(images, 5, 9, method).shape == (2, 9, 5, 3)
    assert pictures.resize(images, 4, 4, method, "center").shape == (2, 4, 4, 3)
    square = pictures.resize(images[:, :, 2:10], 4, 4, method)
    assert torch.equal(pictures.resize(images, 4, 4, method, "center"), square)
    assert pictures.resize(images[..., :1], 5, 9, method).shape == (2, 9, 5, 1)


def test_lanczos_goes_through_eight_bits():
    images = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    expected = Image.fromarray((images[0] * 255).to(torch.uint8).numpy()).resize((4, 4), Image.Resampling.LANCZOS)
    found = pictures.resize(images, 4, 4, "lanczos")
    assert np.array_equal((found[0] * 255).round().numpy(), np.asarray(expected, np.float32))


def test_saved_pictures_carry_the_workflow_and_come_back(bench, folder):
    Image.fromarray(pixels()).save(folder / "a.png")
    nodes = {
        "1": ("LoadImage", {"image": "a.png"}),
        "2": ("SaveImage", {"images": ["1", 0], "filename_prefix": "out"}),
    }
    (saved,) = run(bench, nodes)["2"]["images"]
    with Image.open(bench.root / "output" / saved["filename"]) as image:
        assert np.array_equal(np.asarray(image), pixels())
        assert json.loads(image.info["prompt"])["1"]["inputs"] == {"image": "a.png"}
    again = run(bench, nodes)["2"]["images"][0]["filename"]
    assert again != saved["filename"]


def test_a_changed_file_is_loaded_again(bench, folder):
    nodes = {"1": ("LoadImage", {"image": "a.png"}), "2": ("PreviewImage", {"images": ["1", 0]})}
    seen = []
    for colour in ("red", "red", "blue"):
        Image.new("RGB", (2, 2), colour).save(folder / "a.png")
        with bench.context.activate():
            graph = validate(bench.workflow(nodes), CLASSES)
        seen.append(bench.executor.run(graph)["2"]["images"][0]["filename"])
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize("name", ["none.png", "../secret.png", "/etc/passwd"])
def test_unknown_files_are_found_before_the_run(bench, folder, name):
    nodes = {"1": ("LoadImage", {"image": name}), "2": ("PreviewImage", {"images": ["1", 0]})}
    with pytest.raises(InvalidWorkflowError, match=r"node 1 \(LoadImage\), input image: "):
        run(bench, nodes)
    assert not (bench.root / "output").exists()


def test_masks_scales_and_values(bench, folder):
    Image.fromarray(pixels(channels=4)).save(folder / "a.png")
    nodes = {
        "1": ("LoadImageMask", {"image": "a.png", "channel": "red"}),
        "2": ("MaskToImage", {"mask": ["1", 0]}),
        "3": ("PrimitiveInt", {"value": 14}),
        "4": (
            "ImageScale",
            {"image": ["2", 0], "upscale_method": "area", "width": ["3", 0], "height": 0, "crop": "disabled"},
        ),
        "5": ("ImageScaleBy", {"image": ["4", 0], "upscale_method": "nearest-exact", "scale_by": 0.5}),
        "6": ("ImageBatch", {"image1": ["5", 0], "image2": ["4", 0]}),
        "7": ("ImageToMask", {"image": ["6", 0], "channel": "blue"}),
        "8": ("MaskPreview", {"mask": ["7", 0]}),
        "9": ("PreviewAny", {"source": ["3", 0]}),
    }
    shown = run(bench, nodes)
    assert shown["9"] == {"text": ["14"]}
    assert len(shown["8"]["images"]) == 2
    with Image.open(bench.root / "temp" / shown["8"]["images"][0]["filename"]) as image:
        assert np.array_equal(np.asarray(image)[..., 0], pixels(channels=4)[..., 0])
    nodes["7"] = ("ImageToMask", {"image": ["6", 0], "channel": "alpha"})
    with pytest.raises(NodeFailedError, match="3 channels and so no alpha"):
        run(bench, nodes)


def test_previews_of_anything(bench):
    assert core_nodes.CORE_NODES[-1].execute(source={"a": [1]}).result == ('{\n    "a": [\n        1\n    ]\n}',)
    assert core_nodes.CORE_NODES[-1].execute(source=None).result == ("None",)
    assert "tensor" in core_nodes.CORE_NODES[-1].execute(source=torch.zeros(1)).result[0]
