import json

import pytest
import torch
from typer.testing import CliRunner

from pipeline.artifacts.checkpoint import save_weights
from pipeline.cli import app
from pipeline.config.classes import ClassTable
from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.decoders import upsample
from pipeline.nets.deploy import Deployed, to_onnx, to_pt2
from pipeline.nets.segmentation import SegmentationNetwork

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
CLASSES = ClassTable(names=("background", "disc", "square"))
CASES = {
    "resnet10t": ({"decoder": "deeplabv3plus", "output_stride": 16}, [(1, 65, 83), (3, 120, 97)]),
    "mobilenetv2_035": ({"decoder": "deeplabv3plus", "output_stride": 16}, [(1, 65, 83), (3, 120, 97)]),
    "vit_tiny_patch16_224": ({"decoder": "largefov", "decoder_channels": 32}, [(1, 64, 80), (2, 112, 96)]),
}


def saved(folder, backbone, **options):
    settings = NetworkSettings(backbone=backbone, **options)
    torch.manual_seed(0)
    network = SegmentationNetwork(settings, 3).eval()
    card = {"objective": "any", "settings": {"network": settings.model_dump(mode="json")}}
    path = folder / "weights.safetensors"
    save_weights(path, network.state_dict(), card | {"classes": CLASSES.model_dump(mode="json")})
    return path, network, settings


@pytest.mark.parametrize(
    "backbone",
    [name if name == "resnet10t" else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_onnx_equals_torch_at_any_size(tmp_path, backbone):
    options, sizes = CASES[backbone]
    weights, network, settings = saved(tmp_path, backbone, **options)
    done = CliRunner().invoke(app, ["export", str(weights), str(tmp_path / "net.onnx"), "--to", "onnx"])
    assert done.exit_code == 0, done.output
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (settings.mean, settings.std))
    for batch, height, width in sizes:
        image = torch.rand(batch, 3, height, width) * 255
        with torch.inference_mode():
            wanted = upsample(network((image / 255 - mean) / std), (height, width)).softmax(1)
        (found,) = session.run(["probabilities"], {"image": image.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-5, rtol=1e-4)
    facts = {item.key: json.loads(item.value) for item in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert facts["classes"] == list(CLASSES.names)
    assert facts["palette"][1] == CLASSES.palette[1].tolist()


def test_an_exported_program_equals_the_network_bit_for_bit_at_any_size(tmp_path):
    options, sizes = CASES["resnet10t"]
    weights, network, settings = saved(tmp_path, "resnet10t", **options)
    done = CliRunner().invoke(app, ["export", str(weights), str(tmp_path / "net.pt2"), "--to", "pt2"])
    assert done.exit_code == 0, done.output
    facts = {"classes": "", "palette": ""}
    program = torch.export.load(tmp_path / "net.pt2", extra_files=facts).module()
    deployed = Deployed(network, settings).eval()
    for batch, height, width in sizes:
        image = torch.rand(batch, 3, height, width) * 255
        with torch.inference_mode():
            torch.testing.assert_close(program(image), deployed(image), atol=0, rtol=0)
    assert json.loads(facts["classes"]) == list(CLASSES.names)
    assert json.loads(facts["palette"])[2] == CLASSES.palette[2].tolist()
    with pytest.raises(PseudomaskError, match=r"absent\.safetensors"):
        to_pt2(tmp_path / "absent.safetensors", tmp_path / "net.pt2")


def test_what_is_no_segmenter_is_refused(tmp_path):
    with pytest.raises(PseudomaskError, match=r"absent\.safetensors"):
        to_onnx(tmp_path / "absent.safetensors", tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
