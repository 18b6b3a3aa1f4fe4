// onnx_runtime.mjs MODEL.onnx IMAGES HEIGHT WIDTH CHANNELS PROBABILITIES
//
// Runs ONNX Runtime's CPU provider over IMAGES (uint8, N x HEIGHT x WIDTH x CHANNELS, nothing else in the file) and
// writes the model's output to PROBABILITIES (f32, little-endian, N x classes). Prints ONNX Runtime's version.
import {readFileSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';

const ort = createRequire(import.meta.url)('onnxruntime-node');

const BATCH = 100;  // the model's N is free

const [modelPath, imagesPath, ...rest] = process.argv.slice(2);
const [height, width, channels] = rest.slice(0, 3).map(Number);
const outputPath = rest[3];
const imageSize = height * width * channels;
const pixels = readFileSync(imagesPath);
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
  const slice = new Uint8Array(pixels.subarray(begin * imageSize, (begin + n) * imageSize));
  const {probabilities} = await session.run({images: new ort.Tensor('uint8', slice, [n, height, width, channels])});
  if (probabilities.type !== 'float32' || probabilities.dims[0] !== n) {
    throw new Error(`${modelPath}: got ${probabilities.type} ${probabilities.dims} for ${n} images`);
  }
  results.push(Buffer.from(probabilities.data.buffer, probabilities.data.byteOffset, probabilities.data.byteLength));
}
writeFileSync(outputPath, Buffer.concat(results));
console.log(`ONNX Runtime ${ort.env.versions.node}, ${count} images`);
