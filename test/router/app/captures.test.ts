import test from 'ava';
import { Captures } from '../../../router/app/captures.ts';
import type { DataplaneReply, DataplaneRequest } from '../../../router/app/dataplane-client.ts';
import type { ToDataplane } from '../../../router/app/dataplane-protocol.ts';
import { pcapngHeader, pcapngPackets } from '../../../router/app/pcapng.ts';
import type { PlannedLink } from '../../../router/app/plan.ts';
import type { UplinkConfig } from '../../../router/config/model.ts';
import type { Captured } from '../../../router/control/messages.ts';
import type { Stream } from '../../../router/control/server.ts';
import { VERSION } from '../../../router/lib/version.ts';

const PACKET = { timeUs: 1, out: true, length: 20, bytes: new Uint8Array(20).fill(0x45) };

/** A client that captures. */
class Client implements Stream<Captured> {
  readonly parts: Uint8Array[] = [];
  hasEnded = false;
  leave: () => void = () => undefined;

  send({ pcapng }: Captured): boolean {
    this.parts.push(pcapng);
    return true;
  }
  end(): void {
    this.hasEnded = true;
  }
  onClose(fn: () => void): void {
    this.leave = fn;
  }
}

/** Captures of a router whose data plane answers at once. */
class Stage {
  readonly requests: DataplaneRequest[] = [];
  readonly sent: ToDataplane[] = [];
  links = linksOf({ a: 2, b: 3 });
  errno = 0;
  readonly captures = new Captures(
    {
      send: (m) => this.sent.push(m),
      request: (m) => {
        this.requests.push(m);
        const reply: DataplaneReply = { result: undefined, errno: this.errno };
        return { id: 100 + this.requests.length, reply: Promise.resolve(reply) };
      },
    },
    () => this.links,
    () => UPLINKS,
  );

  async begin(uplink: string): Promise<Client> {
    const client = new Client();
    await this.captures.begin({ uplink, snap_length: 96 }, client);
    return client;
  }
}

/** Tunnels, and a path of the host. */
const UPLINKS = [{ name: 'a' }, { name: 'b' }, { name: 'fiber', host: {} }] as unknown as readonly UplinkConfig[];

/** Links by the numbers they have. */
function linksOf(numbers: Readonly<Record<string, number>>): readonly PlannedLink[] {
  return Object.entries(numbers).map(([name, index]) => ({ spec: { name, index } })) as unknown as PlannedLink[];
}

test('a client gets the names of the links, then the packets of its capture, until it leaves', async (t) => {
  const stage = new Stage();
  const [all, one] = [await stage.begin(''), await stage.begin('b')];
  t.deepEqual(stage.requests, [
    { kind: 'capture-start', link: undefined, snapLength: 96 },
    { kind: 'capture-start', link: 3, snapLength: 96 },
  ]);
  stage.captures.captured({ id: 102, packets: [{ ...PACKET, link: 3 }] });
  const header = Buffer.from(pcapngHeader(['a', 'b'], 96, `mlshim ${VERSION}`));
  t.deepEqual(all.parts.map(Buffer.from), [header]);
  t.deepEqual(one.parts.map(Buffer.from), [header, Buffer.from(pcapngPackets([{ ...PACKET, interface: 1 }]))]);
  one.leave();
  stage.captures.captured({ id: 102, packets: [{ ...PACKET, link: 3 }] });
  t.is(one.parts.length, 2);
  t.deepEqual(stage.sent, [{ kind: 'capture-stop', id: 102 }]);
  t.false(all.hasEnded || one.hasEnded);
});

test('a capture calls packets by the uplink they passed when a reload takes one away and gives its number to another', async (t) => {
  const stage = new Stage();
  const client = await stage.begin('');
  stage.links = linksOf({ b: 3, c: 2 });
  stage.captures.captured({ id: 101, packets: [2, 3].map((link) => ({ ...PACKET, length: 1000 + link, link })) });
  const told = pcapngPackets([{ ...PACKET, length: 1003, interface: 1 }]);
  t.deepEqual(Buffer.from(client.parts[1]!), Buffer.from(told), 'the stream began without c');
});

test('what does not pass here cannot be captured, and is said so', async (t) => {
  const stage = new Stage();
  await t.throwsAsync(stage.begin('z'), { message: /no uplink "z" \(known: a, b, fiber\)/ });
  await t.throwsAsync(stage.begin('fiber'), { message: /its packets do not pass through the router/ });
  t.deepEqual(stage.requests, []);
  stage.errno = 16;
  t.true((await stage.begin('a')).hasEnded);
});
