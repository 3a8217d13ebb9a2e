"""The detectors whose weights are not part of the product: seeded or scripted networks of the same format stand in."""

import sys
import types

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from dflcore.detect.anchors import keep_surest
from dflcore.detect.base import create_detector
from dflcore.detect.batch import detect_batch
from dflcore.errors import DataCorrupt, Unsupported


def rows_of(detections):
    return np.array([[d.box.left, d.box.top, d.box.right, d.box.bottom, d.score] for d in detections])


def surest_first(rows):
    rows = np.asarray(rows)
    return rows[np.argsort(-rows[:, 4])]


def save(network):
    return lambda path: torch.save(network.state_dict(), path)


@pytest.fixture(scope="module")
def s3fd_network():
    from face_alignment.detection.sfd.net_s3fd import s3fd

    torch.manual_seed(0)
    network = s3fd()
    for layer in network.modules():  # so that answers differ from place to place as trained ones do
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    for name, layer in network.named_modules():
        if name.endswith(("mbox_loc", "mbox_conf")):
            layer.weight.data *= 0.01  # boxes near their anchors, scores that differ
    return network


def test_s3fd_gives_the_boxes_of_its_makers(s3fd_network, store_of, no_network, astronaut, tmp_path):
    from face_alignment.detection.sfd import FaceDetector

    small = np.ascontiguousarray(astronaut[::4, ::4][:96])
    store = store_of(s3fd=save(s3fd_network))
    expected = surest_first(FaceDetector("cpu", path_to_detector=str(store.find("s3fd"))).detect_from_image(small))
    found = surest_first(rows_of(create_detector("s3fd", store).detect(small)))
    assert len(found) > 3
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    surer = create_detector("s3fd", store, min_score=0.9).detect(small)
    assert all(one.score >= 0.9 for one in surer)


def test_a_batch_of_s3fd_gives_what_single_images_give(s3fd_network, store_of, no_network, astronaut):
    detector = create_detector("s3fd", store_of(s3fd=save(s3fd_network)))
    pictures = [np.ascontiguousarray(astronaut[y : y + 64, y : y + 96]) for y in (0, 100, 200)]
    pictures.append(np.zeros((40, 40, 3), np.uint8))
    for alone, together in zip(map(detector.detect, pictures), detect_batch(detector, pictures), strict=True):
        np.testing.assert_allclose(surest_first(rows_of(together)), surest_first(rows_of(alone)), rtol=1e-4, atol=1e-3)
    assert detector.detect(np.zeros((20, 300, 3), np.uint8)) == []


@pytest.fixture
def makers_retinaface(monkeypatch):
    """The package's RetinaFace, with a stand-in for the one container it takes from torchvision."""

    class IntermediateLayerGetter(nn.ModuleDict):
        def __init__(self, model, return_layers):
            super().__init__({name: getattr(model, name) for name in return_layers})

        def forward(self, x):
            found = {}
            for name, stage in self.items():
                found[name] = x = stage(x)
            return found

    names = ("torchvision", "torchvision.models", "torchvision.models._utils")
    stand_ins = [types.ModuleType(name) for name in names]
    stand_ins[2].IntermediateLayerGetter = IntermediateLayerGetter
    stand_ins[1]._utils, stand_ins[0].models = stand_ins[2], stand_ins[1]
    for name, module in zip(names, stand_ins, strict=True):
        monkeypatch.setitem(sys.modules, name, module)
    before = set(sys.modules)
    from face_alignment.detection.retinaface import retinaface_detector

    yield retinaface_detector
    for name in set(sys.modules) - before:
        if name.startswith("face_alignment.detection.retinaface"):
            del sys.modules[name]


def test_retinaface_without_torchvision_gives_the_boxes_of_its_makers(
    makers_retinaface, store_of, no_network, astronaut
):
    torch.manual_seed(0)
    network = makers_retinaface.RetinaFace()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # statistics of training, so that a mix-up of layers shows
            layer.running_mean.normal_(0.0, 0.1)
            layer.running_var.uniform_(0.3, 0.6)
            layer.weight.data.uniform_(0.7, 1.3)
    store = store_of(retinaface=save(network))
    makers = makers_retinaface.RetinaFaceDetector("cpu", path_to_detector=str(store.find("retinaface")))
    image = np.ascontiguousarray(astronaut[::2, ::2][:200, :131])
    scores = makers.face_detector(torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() - 110.0)[1]
    for head in makers.face_detector.BboxHead:
        head.conv1x1.weight.data *= 0.02  # boxes near their anchors, or one would swallow all others
    torch.save(makers.face_detector.state_dict(), store.find("retinaface"))
    least = makers.confidence_threshold = float(scores[0, :, 1].detach().quantile(0.8))
    expected = surest_first(makers.detect_from_image(image[..., ::-1]))  # it was trained with blue first
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        sys.modules[name] = None  # from here on it cannot be imported
    detector = create_detector("retinaface", store, min_score=least)
    found = surest_first(rows_of(detector.detect(image)))
    assert len(found) > 3
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    other = np.ascontiguousarray(image[::-1])
    for alone, together in zip(
        map(detector.detect, (image, other)), detect_batch(detector, [image, other]), strict=True
    ):
        np.testing.assert_allclose(surest_first(rows_of(together)), surest_first(rows_of(alone)), rtol=1e-4, atol=1e-3)


def test_blazeface_looks_at_the_middle_square(store_of, no_network):
    from face_alignment.detection.blazeface.net_blazeface import BlazeFace

    network = BlazeFace()
    for name, anchors in (("8", 2), ("16", 6)):
        classifier, regressor = getattr(network, f"classifier_{name}"), getattr(network, f"regressor_{name}")
        for layer in (classifier, regressor):
            nn.init.zeros_(layer.weight)
        nn.init.constant_(classifier.bias, 3.0)
        regressor.bias.data = torch.tensor([0.0, 0.0, 32.0, 48.0, *[0.0] * 12]).repeat(anchors)  # of 128 pixels
    anchors = np.tile(np.array([0.3, 0.6, 1.0, 1.0], np.float32), (896, 1))
    store = store_of(blazeface=save(network), blazeface_anchors=lambda path: np.save(path, anchors))
    detector = create_detector("blazeface", store)
    (found,) = detector.detect(np.zeros((256, 512, 3), np.uint8))
    np.testing.assert_allclose(
        rows_of([found])[0], [128 + 0.175 * 256, 0.4125 * 256, 128 + 0.425 * 256, 0.7875 * 256, 0.953], atol=0.01
    )
    assert create_detector("blazeface", store, min_score=0.99).detect(np.zeros((256, 512, 3), np.uint8)) == []
    assert detector.detect(np.zeros((4, 512, 3), np.uint8)) == []


class ScriptedSession:
    """Answers as SCRFD does for a face around the 640-pixel crop's (160, 240)."""

    def __init__(self, path, providers=None, **_options):
        assert providers == ["CPUExecutionProvider"]
        self.seen = None
        ScriptedSession.last = self

    def get_inputs(self):
        return [types.SimpleNamespace(name="input")]

    def get_outputs(self):
        return [types.SimpleNamespace(name=str(index)) for index in range(9)]

    def run(self, _names, feeds):
        self.seen = feeds["input"]
        scores, boxes = [], []
        for step in (8, 16, 32):
            cells = (640 // step) ** 2
            scores.append(np.zeros((cells * 2, 1), np.float32))
            boxes.append(np.zeros((cells * 2, 4), np.float32))
        at = (240 // 16 * 40 + 160 // 16) * 2
        scores[1][at] = 0.8
        boxes[1][at] = [1, 2, 3, 4]  # steps of 16 pixels to the left, up, right, down
        return [*scores, *boxes, *boxes]


def test_scrfd_boxes_are_in_pixels_of_the_image(store_of, monkeypatch, no_network):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "InferenceSession", ScriptedSession)
    store = store_of(scrfd=lambda path: path.write_bytes(b"scripted"))
    image = np.zeros((480, 1280, 3), np.uint8)
    image[..., 0] = 255
    detector = create_detector("scrfd", store, device="cuda:0")  # onnxruntime here has no GPU: no warning, no error
    (found,) = detector.detect(image)
    assert ScriptedSession.last.seen[0, :, 10, 10].tolist() == pytest.approx([-127.5 / 128, -127.5 / 128, 127.5 / 128])
    np.testing.assert_allclose(rows_of([found])[0], [288, 416, 416, 608, 0.8], atol=1e-4)
    assert detector.detect(np.zeros((1, 1280, 3), np.uint8)) == []


def test_yunet_boxes(store_of, monkeypatch, no_network):
    class Scripted:
        def setInputSize(self, size):  # noqa: N802 - OpenCV's name
            assert size == (64, 48)

        def detect(self, image):
            assert image[0, 0].tolist() == [3, 2, 1]  # blue first
            return 1, np.array([[4, 5, 10, 20, *[0] * 10, 0.7], [0, 0, 30, 30, *[0] * 10, 0.6]], np.float32)

    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_arguments: Scripted())
    detector = create_detector("yunet", store_of(yunet=lambda path: path.write_bytes(b"scripted")), device="cuda")
    image = np.zeros((48, 64, 3), np.uint8)
    image[:] = 1, 2, 3
    found = rows_of(detector.detect(image))
    np.testing.assert_allclose(found, [[0, 0, 30, 30, 0.6], [4, 5, 14, 25, 0.7]], atol=1e-6)


@pytest.mark.parametrize("name", ["s3fd", "retinaface", "scrfd", "blazeface", "yunet"])
def test_damaged_weights_are_named_in_one_sentence(name, store_of, capfd):
    files = {name: lambda path: path.write_bytes(b"no network at all")}
    if name == "blazeface":
        files["blazeface_anchors"] = lambda path: np.save(path, np.zeros((896, 4), dtype=np.float32))
    store = store_of(**files)
    with pytest.raises(DataCorrupt) as caught:
        create_detector(name, store)
    assert caught.value.reason == "WEIGHTS_DAMAGED"
    assert str(store.info(name).file) in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch advises to execute what is in the file


def test_weights_of_another_network(store_of):
    store = store_of(s3fd=lambda path: torch.save({"a": torch.zeros(2)}, path))
    with pytest.raises(DataCorrupt, match="another network"):
        create_detector("s3fd", store)


def test_a_missing_package_is_named(store_of, monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment.detection.sfd.net_s3fd", None)
    with pytest.raises(Unsupported) as caught:
        create_detector("s3fd", store_of(s3fd=lambda path: path.write_bytes(b"x")))
    assert caught.value.reason == "COMPONENT_NOT_INSTALLED"


def test_one_box_per_face():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 0, 30, 10], [0, 0, 10, 10]], np.float64)
    assert keep_surest(boxes, np.array([0.6, 0.9, 0.7, 0.8]), 0.3).tolist() == [1, 2]
    assert keep_surest(boxes, np.array([0.6, 0.9, 0.7, 0.8]), 0.99).tolist() == [1, 3, 2]
    assert keep_surest(np.zeros((0, 4)), np.zeros(0), 0.3).tolist() == []
