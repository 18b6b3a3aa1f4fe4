// onnx_runtime.mjs MODEL.onnx IMAGES TYPE D1 D2 D3 PROBABILITIES
//
// Runs ONNX Runtime's CPU provider over IMAGES (TYPE, uint8 or float32, N x D1 x D2 x D3, nothing else in the file) and
// writes the model's output to PROBABILITIES (f32, little-endian, N x classes). Prints ONNX Runtime's version.
import {readFileSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';

const ort = createRequire(import.meta.url)('onnxruntime-node');

const BATCH = 100;  // the model's N is free

const [modelPath, imagesPath, type, ...rest] = process.argv.slice(2);
const shape = rest.slice(0, 3).map(Number);
const outputPath = rest[3];
const imageSize = shape[0] * shape[1] * shape[2];
const file = readFileSync(imagesPath);
const pixels = type === 'float32' ? new Float32Array(file.buffer, file.byteOffset, file.length / 4) : file;
if (!(imageSize > 0) || pixels.length === 0 || pixels.length % imageSize !== 0) {
  throw new Error(`${imagesPath}: got ${pixels.length} bytes; want whole images of ${imageSize}`);
}

const session = await ort.InferenceSession.create(modelPath, {
  executionProviders: ['cpu'],
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
});
if (session.inputNames.join() !== 'images' || session.outputNames.join() !== 'probabilities') {
  throw new Error(`${modelPath}: got inputs ${session.inputNames} and outputs ${session.outputNames}`);
}

const count = pixels.length / imageSize;
const results = [];
for (let begin = 0; begin < count; begin += BATCH) {
  const n = Math.min(BATCH, count - begin);
  const Pixels = type === 'float32' ? Float32Array : Uint8Array;
  const slice = new Pixels(pixels.subarray(begin * imageSize, (begin + n) * imageSize));
  const {probabilities} = await session.run({images: new ort.Tensor(type, slice, [n, ...shape])});
  if (probabilities.type !== 'float32' || probabilities.dims[0] !== n) {
    throw new Error(`${modelPath}: got ${probabilities.type} ${probabilities.dims} for ${n} images`);
  }
  results.push(Buffer.from(probabilities.data.buffer, probabilities.data.byteOffset, probabilities.data.byteLength));
}
writeFileSync(outputPath, Buffer.concat(results));
console.log(`ONNX Runtime ${ort.env.versions.node}, ${count} images`);
