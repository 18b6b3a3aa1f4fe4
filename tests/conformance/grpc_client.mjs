// grpc_client.mjs ADDRESS PROTO_FOLDER PIXELS LABELS PROBABILITIES
//
// Speaks to a convd with clients made from the .proto files, by no code of this project: the Open Inference Protocol
// and convd.v1.Predictor. The server has version 1 of model "digits", which takes 28 x 28 x 1 bytes and has ten
// classes. PIXELS holds images for it and PROBABILITIES (f32) what it says of them; LABELS are the classes' names, one a
// line. Ends with code 0 where every answer is right.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {promisify} from 'node:util';

const require = createRequire(import.meta.url);
const grpc = require('@grpc/grpc-js');
const {loadSync} = require('@grpc/proto-loader');

const [address, protoFolder, pixelsPath, labelsPath, probabilitiesPath] = process.argv.slice(2);
const CLASSES = 10;
const pixels = readFileSync(pixelsPath);
const labels = readFileSync(labelsPath, 'utf8').trimEnd().split('\n');
const count = pixels.length / 784;
const file = readFileSync(probabilitiesPath);
const expected = Array.from({length: file.length / 4}, (_, i) => file.readFloatLE(4 * i));
assert.equal(expected.length, count * CLASSES);

const {inference, convd} = grpc.loadPackageDefinition(loadSync(
    ['inference/open_inference_grpc.proto', 'convd/v1/predictor.proto'],
    {includeDirs: [protoFolder], keepCase: true, longs: Number, enums: String, defaults: true}));

// Each method as a function that returns a promise.
function client(Service) {
  const stub = new Service(address, grpc.credentials.createInsecure());
  return new Proxy({}, {
    get: (_, method) => promisify(
        (request, done) => stub[method](request, {deadline: Date.now() + 120000}, done)),
  });
}
const oip = client(inference.GRPCInferenceService);
const predictor = client(convd.v1.Predictor);

// All answers of one stream of predictions.
function stream(requests) {
  const stub = new convd.v1.Predictor(address, grpc.credentials.createInsecure());
  const call = stub.PredictStream({deadline: Date.now() + 120000});
  for (const request of requests) call.write(request);
  call.end();
  return new Promise((resolve, reject) => {
    const answers = [];
    call.on('data', (answer) => answers.push(answer)).on('error', reject).on('end', () => resolve(answers));
  });
}

async function fails(call, code, says) {
  const error = await call.then(() => assert.fail(`succeeded; want ${says}`), (e) => e);
  assert.equal(error.code, code, error.details);
  assert.match(error.details, says);
}

function request(changes = {}) {
  return {
    model_name: 'digits',
    id: 'request 7',
    inputs: [{name: 'images', datatype: 'UINT8', shape: [count, 28, 28, 1]}],
    raw_input_contents: [pixels],
    ...changes,
  };
}

function typed(datatype, contents) {
  return request(
      {inputs: [{name: 'images', datatype, shape: [count, 28, 28, 1], contents}], raw_input_contents: []});
}

function answered(response) {
  assert.equal(response.model_name, 'digits');
  assert.equal(response.model_version, '1');
  assert.equal(response.id, 'request 7');
  assert.equal(response.outputs.length, 1);
  assert.equal(response.outputs[0].name, 'probabilities');
}

// The `k` most probable classes of each image as Triton's server writes them.
function classTexts(k) {
  const texts = [];
  for (let n = 0; n < count; ++n) {
    const row = expected.slice(n * CLASSES, (n + 1) * CLASSES);
    const order = row.map((_, i) => i).sort((a, b) => row[b] - row[a] || a - b);
    for (const i of order.slice(0, k)) texts.push(`${row[i].toFixed(6)}:${i}:${labels[i]}`);
  }
  return texts;
}

// The server.
assert.deepEqual(await oip.ServerLive({}), {live: true});
assert.deepEqual(await oip.ServerReady({}), {ready: true});
const server = await oip.ServerMetadata({});
assert.equal(server.name, 'convd');
assert.match(server.version, /^\d+\.\d+\.\d+$/);
assert.deepEqual(
    server.extensions, ['classification', 'model_repository', 'model_repository(unload_dependents)']);

// The model.
for (const version of ['', '1', 'latest']) {
  assert.deepEqual(await oip.ModelReady({name: 'digits', version}), {ready: true});
}
assert.deepEqual(await oip.ModelReady({name: 'digits', version: '2'}), {ready: false});
assert.deepEqual(await oip.ModelReady({name: 'nothing'}), {ready: false});
await fails(oip.ModelReady({name: 'digits', version: '-1'}), grpc.status.INVALID_ARGUMENT, /^version: got "-1"/);
assert.deepEqual(await oip.ModelMetadata({name: 'digits'}), {
  name: 'digits',
  versions: ['1'],
  platform: 'convd_onnx',
  inputs: [{name: 'images', datatype: 'UINT8', shape: [-1, 28, 28, 1]}],
  outputs: [{name: 'probabilities', datatype: 'FP32', shape: [-1, CLASSES]}],
});
await fails(oip.ModelMetadata({name: 'nothing'}), grpc.status.NOT_FOUND, /nothing/);

// Inference: raw, as numbers, as floats, by version.
const raw = await oip.ModelInfer(request({model_version: '1'}));
answered(raw);
assert.equal(raw.outputs[0].datatype, 'FP32');
assert.deepEqual(raw.outputs[0].shape, [count, CLASSES]);
assert.deepEqual(raw.raw_output_contents, [file]);
for (const numbers of [
  typed('UINT8', {uint_contents: Array.from(pixels)}),
  typed('FP32', {fp32_contents: Array.from(pixels)}),
]) {
  const response = await oip.ModelInfer(numbers);
  answered(response);
  assert.deepEqual(response.outputs[0].contents.fp32_contents, expected);
  assert.deepEqual(response.raw_output_contents, []);
}

// Classification.
const outputs = [{name: 'probabilities', parameters: {classification: {int64_param: 3}}}];
const classes = await oip.ModelInfer(request({outputs}));
answered(classes);
assert.equal(classes.outputs[0].datatype, 'BYTES');
assert.deepEqual(classes.outputs[0].shape, [count, 3]);
const texts = [];
for (let rest = classes.raw_output_contents[0]; rest.length > 0; rest = rest.subarray(4 + rest.readUInt32LE())) {
  texts.push(rest.subarray(4, 4 + rest.readUInt32LE()).toString());
}
assert.deepEqual(texts, classTexts(3));
const asTexts = await oip.ModelInfer({...typed('UINT8', {uint_contents: Array.from(pixels)}), outputs});
assert.deepEqual(asTexts.outputs[0].contents.bytes_contents.map(String), classTexts(3));

// Errors.
const invalid = grpc.status.INVALID_ARGUMENT;
await fails(oip.ModelInfer(request({model_name: 'nothing'})), grpc.status.NOT_FOUND, /nothing/);
await fails(oip.ModelInfer(request({model_version: '9'})), grpc.status.NOT_FOUND, /9/);
await fails(oip.ModelInfer(request({raw_input_contents: [pixels.subarray(1)]})), invalid, /^raw_input_contents\[0\]: got/);
await fails(oip.ModelInfer(request({outputs: [{name: 'logits'}]})), invalid, /^outputs\[0\]\.name: got "logits"/);
await fails(oip.ModelInfer(typed('UINT8', {uint_contents: Array.from(pixels, () => 256)})), invalid, /0 to 255/);
await fails(oip.ModelInfer(typed('FP32', {fp32_contents: Array.from(pixels, () => NaN)})), invalid, /^inputs\[0\]/);
await fails(oip.ModelInfer(typed('FP16', {})), invalid, /^inputs\[0\]\.datatype: got "FP16"/);

// The repository.
const index = {name: 'digits', version: '1', state: 'READY'};
assert.deepEqual(await oip.RepositoryIndex({}), {models: [{...index, reason: ''}]});
assert.deepEqual(await oip.RepositoryModelUnload({model_name: 'digits'}), {});
const unloaded = await oip.RepositoryIndex({ready: true});
assert.equal(unloaded.models.length, 1);
assert.match(unloaded.models[0].reason, /^not in memory/);
assert.deepEqual(await oip.RepositoryModelLoad({model_name: 'digits'}), {});
assert.deepEqual(await oip.RepositoryIndex({ready: true}), {models: [{...index, reason: ''}]});
await fails(oip.RepositoryModelLoad({model_name: 'nothing'}), grpc.status.NOT_FOUND, /nothing/);
await fails(
    oip.RepositoryModelLoad({model_name: 'digits', parameters: {config: {string_param: '{}'}}}), invalid,
    /^parameters: got "config"/);

// convd's own protocol.
const predicted = await predictor.Predict({
  model: {name: 'digits'},
  images: {uint8: {count, height: 28, width: 28, channels: 1, data: pixels}},
  top_k: 2,
  probabilities: true,
});
assert.deepEqual(predicted.model, {name: 'digits', version: 1, label: ''});
assert.deepEqual(predicted.predictions.flatMap((p) => p.probabilities), expected);
assert.deepEqual(
    predicted.predictions.flatMap((p) => p.top.map((c) => `${c.probability.toFixed(6)}:${c.index}:${c.label}`)),
    classTexts(2));
await fails(predictor.Predict({model: {name: 'digits'}}), invalid, /^images: got none/);

const answers = await stream([
  {id: 5, request: {model: {name: 'digits'}, images: {uint8: {count, height: 28, width: 28, channels: 1, data: pixels}}}},
  {id: 6, request: {model: {name: 'nothing'}}},
]);
assert.deepEqual(
    answers.find((a) => Number(a.id) === 5).response.predictions.map((p) => p.top[0].index),
    predicted.predictions.map((p) => p.top[0].index));
assert.equal(answers.find((a) => Number(a.id) === 6).error.code, grpc.status.NOT_FOUND);

console.log(`grpc-js ${require('@grpc/grpc-js/package.json').version}, ${count} images`);
process.exit(0);
