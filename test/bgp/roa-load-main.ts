/**
 * Measures origin validation: `node build/test/bgp/roa-load-main.js [ROUTES] [VRPS]` makes VRPs and routes like those of
 * the Internet (lengths 16-24, similar ones close to each other, half of the routes inside a VRP) and prints the CPU time
 * of loading and of validating.
 */
import { RoaTable } from '../../bgp/rpki/roa-table.ts';
import { VrpList } from '../../bgp/rpki/vrp.ts';
import { randomFrom } from './kit/net.ts';

const routes = Number(process.argv[2] ?? 1_000_000);
const vrps = Number(process.argv[3] ?? 400_000);
const random = randomFrom(6811);
const LENGTHS = [16, 18, 19, 20, 20, 21, 22, 22, 22, 23, 24, 24, 24, 24, 24, 24, 24];
/** Neighbours were allocated alike: three lengths in each /16. */
const lengthNear = (w: number): number => LENGTHS[((w >>> 16) * 7 + Math.floor(random() * 3)) % LENGTHS.length]!;
const cut = (w: number, l: number): number => w & (-1 << (32 - l));

const list = new VrpList();
for (let i = 0; i < vrps; i++) {
  const at = Math.floor(random() * 0xdf000000);
  const length = lengthNear(at);
  const w = cut(at, length);
  list.add(4, w, 0, 0, 0, length, Math.min(24, length + Math.floor(random() * 3)), Math.floor(random() * 60_000) + 1);
}
const before = process.memoryUsage();
const table = new RoaTable();
let longest = 0;
const cpuMs = (since: NodeJS.CpuUsage): number =>
  (({ user, system }) => (user + system) / 1000)(process.cpuUsage(since));
const t0 = process.cpuUsage();
const update = table.addSource('bench').replace(list);
for (let isDone = false; !isDone; ) {
  const t = performance.now();
  isDone = update.step(2048);
  longest = Math.max(longest, performance.now() - t);
}
const loaded = cpuMs(t0);
const after = process.memoryUsage();

const words = new Int32Array(routes);
const lengths = new Uint8Array(routes);
const asns = new Uint32Array(routes);
for (let i = 0; i < routes; i++) {
  const row = Math.floor(random() * vrps);
  const isInside = random() < 0.5;
  const at = isInside ? list.word(row, 0) : Math.floor(random() * 0xdf000000);
  lengths[i] = isInside ? Math.max(lengthNear(at), list.length(row)) : lengthNear(at);
  words[i] = cut(at, lengths[i]!);
  asns[i] = list.asn(row);
}
const counts = [0, 0, 0];
const t1 = process.cpuUsage();
for (let i = 0; i < routes; i++) counts[table.state(4, words[i]!, 0, 0, 0, lengths[i]!, asns[i]!)]!++;
const validated = cpuMs(t1);
const memory = after.arrayBuffers - before.arrayBuffers;
console.log(
  `load ${table.size(4)} VRPs: ${loaded.toFixed(0)} ms, longest step ${longest.toFixed(1)} ms, ${(memory / 2 ** 20).toFixed(1)} MiB`,
);
console.log(
  `validate ${routes} routes: ${validated.toFixed(0)} ms, ${((validated * 1e6) / routes).toFixed(0)} ns each (${counts[1]} valid, ${counts[2]} invalid, ${counts[0]} unknown)`,
);
