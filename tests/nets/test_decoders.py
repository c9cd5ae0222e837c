import pytest
import torch
from torchvision.models.segmentation.deeplabv3 import ASPP

from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.backbones import Backbone
from pipeline.nets.decoders import Aspp, DeepLabV2, PspNet, build_decoder, strongest_class, upsample
from pipeline.nets.segmentation import SegmentationNetwork

K = 21
# weights + biases or batch norm's two, layer by layer, from the papers
_DEEP, _LOW = {"resnet50": 2048, "mobilenetv2_100": 320}, {"resnet50": 256, "mobilenetv2_100": 24}


def _expected(decoder: str, name: str) -> int:
    deep, low = _DEEP[name], _LOW[name]
    if decoder == "none":
        return deep * K + K
    if decoder == "largefov":
        return (deep * 9 + 1) * 1024 + (1024 + 1) * 1024 + (1024 + 1) * K
    if decoder == "rrm":
        return (deep * 9 + 1) * 512 + (512 * 9 + 1) * K
    if decoder == "deeplabv2":
        return 4 * (deep * 9 + 1) * K
    if decoder == "pspnet":
        part = deep // 4
        return 4 * (deep + 2) * part + (2 * deep * 9 + 2) * 512 + (512 + 1) * K
    aspp = 2 * (deep + 2) * 256 + 3 * (deep * 9 + 2) * 256 + (5 * 256 + 2) * 256
    return aspp + (low + 2) * 48 + (304 * 9 + 2) * 256 + (256 * 9 + 2) * 256 + (256 + 1) * K


def test_dupls_largefov_has_two_dilated_convolutions():
    backbone = Backbone(NetworkSettings(backbone="resnet10t"))
    wide = {"decoder": "largefov", "decoder_channels": 16, "decoder_dilations": (5, 5)}
    net = build_decoder(NetworkSettings(backbone="resnet10t", **wide), backbone, K)
    layers = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
    assert [(layer.kernel_size, layer.dilation) for layer in layers] == [((3, 3), (5, 5))] * 2 + [((1, 1), (1, 1))]
    assert net([torch.zeros(1, backbone.channels[-1], 7, 9)]).shape == (1, K, 7, 9)


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2_100"])
@pytest.mark.parametrize("decoder", ["none", "largefov", "rrm", "deeplabv2", "deeplabv3plus", "pspnet"])
def test_decoders_have_the_papers_size_and_stride(name, decoder):
    settings = NetworkSettings(backbone=name, decoder=decoder)
    backbone = Backbone(settings).eval()
    net = build_decoder(settings, backbone, K).eval()
    assert sum(p.numel() for p in net.parameters()) == _expected(decoder, name)
    with torch.inference_mode():
        logits = net(backbone(torch.zeros(1, 3, 64, 96)))
    stride = 4 if decoder == "deeplabv3plus" else 16
    assert logits.shape == (1, K, 64 // stride, 96 // stride)


def test_aspp_equals_torchvisions():
    torch.manual_seed(0)
    ours, theirs = Aspp(16, 8, (6, 12, 18)).eval(), ASPP(16, [6, 12, 18], 8).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(1, 16, 20, 15)
    torch.testing.assert_close(ours(x), theirs(x))


def test_deeplabv2_is_a_sum_of_small_random_branches():
    torch.manual_seed(0)
    net = DeepLabV2(64, 5, (6, 12, 18, 24))
    weights = torch.cat([branch.weight.detach().flatten() for branch in net.branches])
    assert weights.std().item() == pytest.approx(0.01, rel=0.05)
    x = torch.randn(2, 64, 30, 30)
    torch.testing.assert_close(net([x]), sum(branch(x) for branch in net.branches))
    assert [branch.dilation[0] for branch in net.branches] == [6, 12, 18, 24]


def test_pspnet_sees_the_whole_image_through_its_one_bin():
    torch.manual_seed(0)
    net = PspNet(8, 3, 4, dropout=False).eval()
    x = torch.randn(1, 8, 24, 24, requires_grad=True)
    net([x])[0, :, 0, 0].sum().backward()
    assert x.grad[0, :, -1, -1].abs().sum() > 0


@pytest.mark.parametrize(("stride", "rates"), [(8, [1, 12, 24, 36]), (16, [1, 6, 12, 18])])
def test_deeplabv3plus_doubles_its_rates_at_stride_8(stride, rates):
    settings = NetworkSettings(backbone="mobilenetv2_035", decoder="deeplabv3plus", output_stride=stride)
    decoder = build_decoder(settings, Backbone(settings), 3)
    assert [branch[0].dilation[0] for branch in decoder.aspp.branches] == rates


@pytest.mark.parametrize(("wanted", "count"), [(True, 3), (False, 0)])
def test_dropout_can_be_left_out(wanted, count):
    settings = NetworkSettings(backbone="mobilenetv2_035", decoder="deeplabv3plus", decoder_dropout=wanted)
    decoder = build_decoder(settings, Backbone(settings), 3)
    assert sum(isinstance(m, torch.nn.Dropout) for m in decoder.modules()) == count


def test_without_pooling_aspp_sees_no_further_than_its_dilated_convolutions():
    reach = {}
    for pooling in (True, False):
        aspp = Aspp(4, 4, (2,), pooling).eval()
        x = torch.randn(1, 4, 12, 12, requires_grad=True)
        aspp(x)[0, :, 0, 0].sum().backward()
        reach[pooling] = x.grad.abs().sum((0, 1))
    assert reach[True].all()
    assert not reach[False][3:].any()
    assert not reach[False][:, 3:].any()


def test_deeplabv3plus_without_stride_4_is_explained():
    settings = NetworkSettings(backbone="vit_tiny_patch16_224", decoder="deeplabv3plus")
    with pytest.raises(PseudomaskError, match="needs features at stride 4"):
        build_decoder(settings, Backbone(settings), 3)


def test_upsample_keeps_means_and_leaves_equal_sizes_alone():
    x = torch.rand(1, 2, 4, 4)
    assert upsample(x, (4, 4)) is x
    torch.testing.assert_close(upsample(x, (8, 8)).mean((2, 3)), x.mean((2, 3)))


@pytest.mark.parametrize("decoder", ["none", "largefov", "deeplabv3plus", "pspnet", "hrnet"])
def test_a_hidden_head_takes_the_place_of_the_last_convolution(decoder):
    plain, headed = (
        SegmentationNetwork(NetworkSettings(backbone="mobilenetv2_035", decoder=decoder, head=head), 3).eval()
        for head in ("linear", "hidden")
    )
    image = torch.rand(2, 3, 64, 64)
    assert headed(image).shape == plain(image).shape
    convolutions = [m for m in headed.decoder.embed.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(m.out_channels != 3 for m in convolutions)
    width = headed.decoder.head[0][0].in_channels
    assert headed.decoder.second_head()[0][0].weight.shape == (width, width, 1, 1)


def test_hrnet_joins_all_resolutions_at_stride_4():
    settings = NetworkSettings(
        backbone="hrnet_w18_small", backbone_options={"feature_location": ""}, output_stride=32, decoder="hrnet"
    )
    network = SegmentationNetwork(settings, 3).eval()
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 3, 16, 16)
    assert network.decoder.decode[0][0].in_channels == 16 + 32 + 64 + 128


def test_heads_over_3x3_classifiers_are_refused():
    with pytest.raises(ValueError, match="set head to linear"):
        NetworkSettings(decoder="deeplabv2", head="hidden")


def test_strongest_class_is_argmax_the_first_of_equal_ones():
    few = torch.randint(0, 3, (3, 21, 33, 47)).float()  # many ties
    for scores in (few, few.contiguous(memory_format=torch.channels_last)):
        assert strongest_class(scores).equal(scores.argmax(1))
