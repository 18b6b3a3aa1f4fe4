// ONNX Runtime's side of the benchmark as npm has it (onnxruntime-node): runs a model file on the CPU provider.
//
// usage: node onnxruntime.mjs MODEL.onnx [--threads 1] [--sessions 1] [--batch 1] [--seconds 2]
//
// --threads are a session's own. --sessions run side by side, in a process each, since a request occupies Node.js's one
// thread until it is answered; their rates add. Prints a JSON object on one line.
import {fork} from 'node:child_process';
import {once} from 'node:events';
import {createRequire} from 'node:module';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

const ort = createRequire(import.meta.url)('onnxruntime-node');

const {values: options, positionals: [model]} = parseArgs({
  allowPositionals: true,
  options: {
    threads: {type: 'string', default: '1'},
    sessions: {type: 'string', default: '1'},
    batch: {type: 'string', default: '1'},
    seconds: {type: 'string', default: '2'},
  },
});
const [threads, sessions, batch, seconds] =
    [options.threads, options.sessions, options.batch, options.seconds].map(Number);

// Warms up, waits for ready(), and returns the images/s from there on.
async function infer(ready) {
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'all',
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
  });
  const [input] = session.inputMetadata;
  const shape = [batch, ...input.shape.slice(1)];
  const elements = shape.reduce((product, size) => product * size);
  const images = input.type === 'uint8' ?
      new ort.Tensor('uint8', Uint8Array.from({length: elements}, () => Math.random() * 256), shape) :
      new ort.Tensor('float32', Float32Array.from({length: elements}, () => Math.random()), shape);
  const feeds = {[input.name]: images};
  for (let i = 0; i < Math.max(3, 300 / batch); ++i) await session.run(feeds);
  await ready();
  let done = 0;
  const start = performance.now();
  while (performance.now() - start < seconds * 1000) {
    await session.run(feeds);
    done += batch;
  }
  return done / (performance.now() - start) * 1000;
}

async function sideBySide() {
  const children = Array.from({length: sessions}, () => fork(fileURLToPath(import.meta.url), process.argv.slice(2)));
  for (const child of children) {
    child.on('exit', (code) => {
      if (code !== 0) {
        for (const other of children) other.kill();
        process.exit(1);
      }
    });
  }
  await Promise.all(children.map((child) => once(child, 'message')));
  const rates = Promise.all(children.map((child) => once(child, 'message')));
  for (const child of children) child.send('start');
  return (await rates).reduce((sum, [rate]) => sum + rate, 0);
}

if (process.send) {
  process.send(await infer(async () => {
    process.send('ready');
    await once(process, 'message');
  }));
  process.disconnect();
} else {
  const rate = await (sessions > 1 ? sideBySide() : infer(async () => {}));
  console.log(JSON.stringify(
      {version: ort.env.versions.node, threads, sessions, batch, images_per_second: rate}));
}
