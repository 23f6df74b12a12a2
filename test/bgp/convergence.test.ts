/** Random topologies with flapping links: after things calm down every FIB agrees with a shortest-path oracle. */
import test from 'ava';
import { neighbourOf, prefixFor, SimNet, type SimRouter } from './kit/net.ts';

/** Hop counts from `from` over cables that are up. */
function distances(net: SimNet, from: SimRouter): Map<SimRouter, number> {
  const found = new Map([[from, 0]]);
  const queue = [from];
  for (let r = queue.shift(); r !== undefined; r = queue.shift()) {
    for (const cable of net.cables) {
      if (!cable.isUp || !cable.ends.includes(r)) continue;
      const other = cable.ends[1 - cable.sideOf(r)]!;
      if (found.has(other)) continue;
      found.set(other, found.get(r)! + 1);
      queue.push(other);
    }
  }
  return found;
}

function randomNet(seed: number): SimNet {
  const net = new SimNet(seed);
  const n = 4 + Math.floor(net.random() * 6);
  for (let i = 0; i < n; i++) {
    net.router(`r${i}`, { asn: 64600 + i, networks: [prefixFor(i, 4), prefixFor(i, 6)] });
  }
  for (let i = 1; i < n; i++) net.join(net.routers[i]!, net.routers[Math.floor(net.random() * i)]!);
  for (let i = 0; i < n; i++) {
    const a = net.routers[Math.floor(net.random() * n)]!;
    const b = net.routers[Math.floor(net.random() * n)]!;
    if (a !== b && !net.cables.some((c) => c.ends.includes(a) && c.ends.includes(b))) net.join(a, b);
  }
  return net;
}

for (let seed = 1; seed <= 12; seed++) {
  test(`all speakers agree on shortest paths after links have flapped (seed ${seed})`, (t) => {
    const net = randomNet(seed);
    net.start();
    net.run(30_000);
    for (let flap = 0; flap < 10; flap++) {
      const cable = net.cables[Math.floor(net.random() * net.cables.length)]!;
      net.setCable(cable, !cable.isUp);
      net.run(net.random() * 3000);
    }
    net.run(200_000);
    for (const r of net.routers) {
      const near = distances(net, r);
      for (const [i, dest] of net.routers.entries()) {
        for (const family of [4, 6] as const) {
          const hops = r.fib.get(prefixFor(i, family));
          if (dest === r || !near.has(dest)) t.is(hops, undefined, `${r.name} to ${dest.name}`);
          else {
            const next = neighbourOf(r, hops![0]!);
            t.is(distances(net, next).get(dest), near.get(dest)! - 1, `${r.name} to ${dest.name} via ${next.name}`);
          }
        }
      }
    }
  });
}
