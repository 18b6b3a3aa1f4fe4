#!/usr/bin/python3
"""grpc_client.py STUBS_FOLDER ADDRESS PIXELS LABELS PROBABILITIES

Speaks to a convd with stubs that protoc made in STUBS_FOLDER, by no code of this project: the Open Inference Protocol
and convd.v1.Predictor. The rest as in grpc_client.mjs. Needs Debian's python3-grpcio and python3-protobuf.
"""
import struct
import sys

import grpc

sys.path.insert(0, sys.argv[1])
from convd.v1 import images_pb2, predictor_pb2, predictor_pb2_grpc  # noqa: E402
from inference import open_inference_grpc_pb2 as oip_pb2  # noqa: E402
from inference import open_inference_grpc_pb2_grpc as oip_pb2_grpc  # noqa: E402

CLASSES = 10
PATIENCE = 120  # seconds


def read(path):
    with open(path, "rb") as file:
        return file.read()


def same(got, want):
    if got != want:
        raise AssertionError(f"got {got!r}; want {want!r}")


def fails(call, message, code, says):
    try:
        call(message, timeout=PATIENCE)
    except grpc.RpcError as error:
        same(error.code(), code)
        if says not in error.details():
            raise AssertionError(f"got {error.details()!r}; want {says!r}")
        return
    raise AssertionError(f"succeeded; want {says!r}")


def main():
    address = sys.argv[2]
    pixels, labels, raw_expected = (read(path) for path in sys.argv[3:6])
    labels = labels.decode().splitlines()
    count = len(pixels) // 784
    expected = struct.unpack(f"<{count * CLASSES}f", raw_expected)

    channel = grpc.insecure_channel(address)
    oip = oip_pb2_grpc.GRPCInferenceServiceStub(channel)
    predictor = predictor_pb2_grpc.PredictorStub(channel)

    def class_texts(k):
        for n in range(count):
            row = expected[n * CLASSES:(n + 1) * CLASSES]
            for i in sorted(range(CLASSES), key=lambda i: -row[i])[:k]:
                yield f"{row[i]:.6f}:{i}:{labels[i]}"

    def request():
        message = oip_pb2.ModelInferRequest(model_name="digits", id="request 7")
        message.inputs.add(name="images", datatype="UINT8", shape=[count, 28, 28, 1])
        return message

    same(oip.ServerLive(oip_pb2.ServerLiveRequest(), timeout=PATIENCE).live, True)
    same(oip.ServerReady(oip_pb2.ServerReadyRequest(), timeout=PATIENCE).ready, True)
    same(oip.ServerMetadata(oip_pb2.ServerMetadataRequest(), timeout=PATIENCE).name, "convd")
    for name, ready in (("digits", True), ("nothing", False)):
        same(oip.ModelReady(oip_pb2.ModelReadyRequest(name=name), timeout=PATIENCE).ready, ready)
    metadata = oip.ModelMetadata(oip_pb2.ModelMetadataRequest(name="digits", version="1"), timeout=PATIENCE)
    same([(t.name, t.datatype, list(t.shape)) for t in (*metadata.inputs, *metadata.outputs)],
         [("images", "UINT8", [-1, 28, 28, 1]), ("probabilities", "FP32", [-1, CLASSES])])

    raw = request()
    raw.raw_input_contents.append(pixels)
    answer = oip.ModelInfer(raw, timeout=PATIENCE)
    same((answer.model_name, answer.model_version, answer.id), ("digits", "1", "request 7"))
    same(list(answer.raw_output_contents), [raw_expected])

    typed = request()
    typed.inputs[0].contents.uint_contents.extend(pixels)
    answer = oip.ModelInfer(typed, timeout=PATIENCE)
    same(tuple(answer.outputs[0].contents.fp32_contents), expected)

    typed.outputs.add(name="probabilities").parameters["classification"].int64_param = 3
    answer = oip.ModelInfer(typed, timeout=PATIENCE)
    same(answer.outputs[0].datatype, "BYTES")
    same([text.decode() for text in answer.outputs[0].contents.bytes_contents], list(class_texts(3)))

    raw.inputs[0].shape[0] = 0
    fails(oip.ModelInfer, raw, grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].shape[0]: got 0 images")
    fails(oip.ModelInfer, oip_pb2.ModelInferRequest(model_name="nothing"), grpc.StatusCode.NOT_FOUND, "nothing")

    oip.RepositoryModelUnload(oip_pb2.RepositoryModelUnloadRequest(model_name="digits"), timeout=PATIENCE)
    oip.RepositoryModelLoad(oip_pb2.RepositoryModelLoadRequest(model_name="digits"), timeout=PATIENCE)
    index = oip.RepositoryIndex(oip_pb2.RepositoryIndexRequest(ready=True), timeout=PATIENCE)
    same([(m.name, m.version, m.state, m.reason) for m in index.models], [("digits", "1", "READY", "")])

    predict = predictor_pb2.PredictRequest(top_k=2, probabilities=True)
    predict.model.name = "digits"
    predict.images.uint8.CopyFrom(
        images_pb2.RawImages(count=count, height=28, width=28, channels=1, data=pixels))
    predicted = predictor.Predict(predict, timeout=PATIENCE).predictions
    same(tuple(p for prediction in predicted for p in prediction.probabilities), expected)
    same([f"{c.probability:.6f}:{c.index}:{c.label}" for p in predicted for c in p.top], list(class_texts(2)))

    ask = predictor_pb2.PredictStreamRequest
    unknown = predictor_pb2.PredictRequest(model={"name": "nothing"})
    answers = {answer.id: answer for answer in predictor.PredictStream(
        iter([ask(id=5, request=predict), ask(id=6, request=unknown), ask(id=7, request=predict)]), timeout=PATIENCE)}
    same(sorted(answers), [5, 6, 7])
    same(answers[6].error.code, grpc.StatusCode.NOT_FOUND.value[0])
    for id in (5, 7):
        same([list(p.probabilities) for p in answers[id].response.predictions], [list(p.probabilities) for p in predicted])

    print(f"grpcio {grpc.__version__}, {count} images")


main()
