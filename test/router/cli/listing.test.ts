import test from 'ava';
import type { Input } from '../../../router/cli/command.ts';
import { jsonPrinter, type ListingPrinter, perLine, printListing } from '../../../router/cli/listing.ts';

interface Route {
  readonly prefix: string;
}

const LINE = (r: Route): string => `${r.prefix}\n`;

/** @param printer makes what prints from the output that it prints to */
async function printed(
  lists: readonly (readonly string[])[],
  printer: (io: Input['io']) => ListingPrinter<Route>,
): Promise<{ readonly text: string; readonly drained: number }> {
  let text = '';
  let drained = 0;
  const io = {
    out: (more: string) => (text += more),
    drained: async () => void drained++,
  } as unknown as Input['io'];
  const parts = async function* () {
    for (const list of lists) yield list.map((prefix) => ({ prefix }));
  };
  await printListing({ io } as Input, parts(), printer(io));
  return { text, drained };
}

test('a listing of some parts is put in order: IPv4 first, then by address as numbers, shorter first', async (t) => {
  const lists = [['2001:db8::/32', '203.0.113.0/24', '9.0.0.0/8'], [], ['10.0.0.0/24', '10.0.0.0/8', '::/0']];
  const { text } = await printed(lists, (io) => perLine(io, LINE));
  t.is(text, '9.0.0.0/8\n10.0.0.0/8\n10.0.0.0/24\n203.0.113.0/24\n::/0\n2001:db8::/32\n');
});

test('a long listing is printed while it arrives, as fast as it is taken, and everything once', async (t) => {
  const all = Array.from({ length: 12_000 }, (_, i) => `10.${255 - (i >>> 8)}.${i & 255}.0/24`);
  const lists = Array.from({ length: 24 }, (_, i) => all.slice(i * 500, (i + 1) * 500));
  const { text, drained } = await printed(lists, (io) => perLine(io, LINE));
  t.is(text, all.map((prefix) => `${prefix}\n`).join(''));
  t.is(drained, 24 - 16, 'from the part on that makes it long');
});

test('the document is the one that JSON.stringify would make, of none, one or many parts', async (t) => {
  for (const lists of [[], [['10.0.0.0/8']], [['10.0.0.0/8'], ['11.0.0.0/8', '12.0.0.0/8']]]) {
    const { text } = await printed(lists, (io) => jsonPrinter(io));
    const routes = lists.flat().map((prefix) => ({ prefix }));
    t.is(text, `${JSON.stringify({ routes }, null, 2)}\n`);
  }
});
