import torch

from pipeline.config.network import NetworkSettings
from pipeline.nets.classification import ClassificationNetwork


def _network() -> ClassificationNetwork:
    torch.manual_seed(0)
    return ClassificationNetwork(NetworkSettings(backbone="mobilenetv2_035"), 3).eval()


def test_cam_equals_a_slow_sum_over_features():
    network, image = _network(), torch.randn(2, 3, 48, 64)
    with torch.inference_mode():
        maps, logits = network.cams(image)
        features = network.backbone(image)[-1].double()
    weight = network.classifier.weight.detach().double()[:, :, 0, 0]
    for b in range(2):
        for c in range(3):
            for y in range(features.shape[2]):
                for x in range(features.shape[3]):
                    evidence = sum(weight[c, k] * features[b, k, y, x] for k in range(features.shape[1]))
                    torch.testing.assert_close(
                        maps[b, c, y, x].double(), max(evidence, 0 * evidence), atol=1e-5, rtol=0
                    )
    torch.testing.assert_close(logits, network(image), atol=1e-5, rtol=0)


def test_logits_are_means_of_the_evidence_and_have_no_bias():
    network = _network()
    assert network.classifier.bias is None
    with torch.inference_mode():
        assert network(torch.randn(2, 3, 32, 32)).shape == (2, 3)
