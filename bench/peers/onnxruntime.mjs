// ONNX Runtime's side of the benchmark: runs a model file on the CPU provider.
//
// usage: node onnxruntime.mjs MODEL.onnx --network NAME --input uint8-nhwc|float-nchw --shape H,W,C
//            [--threads 1] [--batch 1] [--concurrency 1] [--seconds 2]
//
// --threads is the session's own pool, --concurrency the requests that are in flight at any time: with a batch of one
// image, requests side by side on a thread each are how a server uses its cores. Prints a JSON object on one line.
import {createRequire} from 'node:module';
import {parseArgs} from 'node:util';

const ort = createRequire(import.meta.url)('onnxruntime-node');

const {values: options, positionals: [model]} = parseArgs({
  allowPositionals: true,
  options: {
    network: {type: 'string'},
    input: {type: 'string', default: 'uint8-nhwc'},
    shape: {type: 'string'},
    threads: {type: 'string', default: '1'},
    batch: {type: 'string', default: '1'},
    concurrency: {type: 'string', default: '1'},
    seconds: {type: 'string', default: '2'},
  },
});
const [threads, batch, concurrency] = [options.threads, options.batch, options.concurrency].map(Number);
const [height, width, channels] = options.shape.split(',').map(Number);
const elements = batch * height * width * channels;

const session = await ort.InferenceSession.create(model, {
  executionProviders: ['cpu'],
  graphOptimizationLevel: 'all',
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
});
const images = options.input === 'uint8-nhwc' ?
    new ort.Tensor('uint8', Uint8Array.from({length: elements}, () => Math.random() * 256),
                   [batch, height, width, channels]) :
    new ort.Tensor('float32', Float32Array.from({length: elements}, () => Math.random()),
                   [batch, channels, height, width]);
const feeds = {[session.inputNames[0]]: images};

for (let i = 0; i < Math.max(3, 300 / batch); ++i) await session.run(feeds);

let done = 0;
const start = performance.now();
const end = start + Number(options.seconds) * 1000;
await Promise.all(Array.from({length: concurrency}, async () => {
  while (performance.now() < end) {
    await session.run(feeds);
    done += batch;
  }
}));
const seconds = (performance.now() - start) / 1000;
console.log(JSON.stringify({
  program: 'ONNX Runtime',
  version: ort.env.versions.node,
  mode: 'infer',
  network: options.network,
  // What works at once, so that it stands beside others who use as many cores.
  threads: threads * concurrency,
  batch,
  variant: options.input,
  images: done,
  seconds,
  images_per_second: done / seconds,
}));
